// Above kernels/ tensors are handed on, never read or written: an address belongs to its device
// (tensor/device.h). Values pass through tensor/host_array.h. This reads the source; what it cannot
// see, tests/device_seam_property_test.cc runs into.
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "base/file.h"

namespace dure {
namespace {

struct Touch {
  std::regex pattern;
  const char* why;
  bool host_files = false;  // allowed where tensors are those of files
};

// Of a line of code.
const std::vector<Touch>& touches() {
  static const std::vector<Touch> all = {
      {std::regex(R"(\.(f32|bf16|i32|i64)\(\)|\.as<(float|double|int32_t|int64_t|uint16_t)>\(\))"),
       "typed access to a tensor"},
      {std::regex(R"((static_cast|reinterpret_cast)<[^>]*\*>\([^()]*\.data\))"),
       "a tensor's address, cast"},
      {std::regex(R"(mem(cpy|move|set|cmp)\([^;]*\.data[^A-Za-z0-9_(])"),
       "a tensor's address, copied from or to"},
      {std::regex(R"(\.(threads|scratch)\()"), "workers or scratch of the CPU's stream"},
      {std::regex(R"(#include "kernels/(cpu|ref)/)"), "a backend's own header"},
      {std::regex(R"(\bhost_(view|values|bytes)\b)"), "host memory where a device's is needed",
       true},
  };
  return all;
}

// Files whose tensors are the host's own: what is read from files and written to them.
bool works_on_host_files(const std::string& path) {
  return path.starts_with("quantise/") || path == "cli/convert_model.cc" ||
         path == "train/shared_file.cc";
}

bool is_test(const Path& path) {
  const std::string name = path.filename().string();
  return name.ends_with("_test.cc") || name.ends_with("_fixture.h") ||
         path.parent_path().filename() == "ref";
}

std::string without_comment(const std::string& line) { return line.substr(0, line.find("//")); }

TEST(Seam, NobodyAboveTheKernelsTouchesATensor) {
  const Path src = Path(DURE_SOURCE_DIR) / "src";
  int64_t line_count = 0;
  for (const char* folder :
       {"model", "data", "quantise", "engine", "train", "chat", "eval", "rl", "server", "cli"}) {
    if (!path_exists(src / folder)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(src / folder)) {
      if (!entry.is_regular_file() || is_test(entry.path())) continue;
      const std::string name = std::filesystem::relative(entry.path(), src).string();
      std::istringstream lines(read_file(entry.path()));
      int64_t number = 0;
      for (std::string line; std::getline(lines, line); ++line_count) {
        ++number;
        const std::string code = without_comment(line);
        for (const Touch& touch : touches()) {
          if (touch.host_files && works_on_host_files(name)) continue;
          EXPECT_FALSE(std::regex_search(code, touch.pattern))
              << "src/" << name << ":" << number << ": " << touch.why << ": " << line;
        }
      }
    }
  }
  EXPECT_GT(line_count, 10000);
}

}  // namespace
}  // namespace dure
