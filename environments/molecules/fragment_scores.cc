// A pickle of protocol 0: MARK, LIST, PUT n, FLOAT x, INT n, APPEND, STOP, a line for each number.
// The first number of an inner list is the contribution of the hashes behind it.
#include <zlib.h>

#include <charconv>

#include "base/error.h"
#include "molecules/chemistry.h"

namespace dure::molecules {
namespace {

std::string read_gzip(const Path& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr)
    fail(ErrorCode::kNotFound,
         "{}: cannot be read: install the Debian package rdkit-data (./dev setup environments)",
         path.string());
  std::string text;
  std::vector<char> buffer(1 << 20);
  int count = 0;
  while ((count = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0)
    text.append(buffer.data(), static_cast<size_t>(count));
  gzclose(file);
  if (count < 0) fail(ErrorCode::kCorrupt, "{}: damaged gzip data", path.string());
  return text;
}

class PickleReader {
 public:
  PickleReader(std::string text, std::string source)
      : text_(std::move(text)), source_(std::move(source)) {}

  std::unordered_map<uint32_t, double> scores() {
    std::unordered_map<uint32_t, double> found;
    found.reserve(800000);
    double score = 0;
    while (true) {
      const char code = next();
      if (code == '.') return found;
      if (code == 'F') score = number<double>();
      if (code == 'I') found[static_cast<uint32_t>(number<int64_t>())] = score;
      if (code == 'p') number<int64_t>();
      if (std::string_view("(lap.FI").find(code) == std::string_view::npos)
        fail(ErrorCode::kCorrupt, "{}: unknown opcode {} at byte {}", source_,
             static_cast<int>(code), at_ - 1);
    }
  }

 private:
  char next() {
    if (at_ >= text_.size()) fail(ErrorCode::kCorrupt, "{}: ends too early", source_);
    return text_[at_++];
  }
  template <typename T>
  T number() {
    T value{};
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    const size_t behind = static_cast<size_t>(end - text_.data());
    if (error != std::errc() || behind >= text_.size() || (*end != '\n' && *end != 'L'))
      fail(ErrorCode::kCorrupt, "{}: no number at byte {}", source_, at_);
    at_ = text_.find('\n', behind) + 1;
    return value;
  }

  std::string text_;
  std::string source_;
  size_t at_ = 0;
};

}  // namespace

std::unordered_map<uint32_t, double> read_fragment_scores(const Path& path) {
  return PickleReader(read_gzip(path), path.string()).scores();
}

}  // namespace dure::molecules
