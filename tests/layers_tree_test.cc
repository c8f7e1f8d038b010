// The tree obeys its own table: every #include points to the same folder or to one that
// tools/layers.txt names, the table has no cycle, no file is longer than 1,000 lines, every
// source of src/ stands in a folder of the table, and pages of docs/ that are named exist.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/file.h"

namespace dure {
namespace {

struct Layer {
  int rank = 0;
  std::set<std::string> below;
};

std::map<std::string, Layer> read_table() {
  std::map<std::string, Layer> table;
  std::istringstream lines(read_file(Path(DURE_SOURCE_DIR) / "tools" / "layers.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Layer layer;
    std::string folder, lower;
    words >> layer.rank >> folder;
    while (words >> lower) {
      if (lower != "-") layer.below.insert(lower);
    }
    table[folder] = layer;
  }
  return table;
}

// Folders that the #include "..." lines of a file name.
std::set<std::string> included_folders(const std::string& text) {
  std::set<std::string> folders;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("#include \"", 0) != 0) continue;
    const std::string target = line.substr(10, line.find('"', 10) - 10);
    const size_t slash = target.find('/');
    EXPECT_NE(slash, std::string::npos) << line << ": includes are written from src/";
    if (slash != std::string::npos) folders.insert(target.substr(0, slash));
  }
  return folders;
}

TEST(Layers, TableHasNoUpwardEdgeAndNoCycle) {
  const auto table = read_table();
  ASSERT_GE(table.size(), 10u);
  for (const auto& [folder, layer] : table) {
    for (const std::string& lower : layer.below) {
      ASSERT_TRUE(table.contains(lower)) << folder << " -> " << lower;
      EXPECT_LE(table.at(lower).rank, layer.rank) << folder << " -> " << lower;
      EXPECT_FALSE(table.at(lower).below.contains(folder)) << folder << " <-> " << lower;
    }
  }
}

TEST(Layers, EveryIncludePointsDown) {
  const auto table = read_table();
  const Path src = Path(DURE_SOURCE_DIR) / "src";
  int64_t file_count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(src)) {
    const std::string extension = entry.path().extension().string();
    if (!entry.is_regular_file() || (extension != ".cc" && extension != ".h" && extension != ".cu"))
      continue;
    const Path relative = std::filesystem::relative(entry.path(), src);
    const std::string folder = relative.begin()->string();
    ASSERT_TRUE(table.contains(folder)) << relative << " stands outside the table";
    const std::string text = read_file(entry.path());
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 1000)
        << relative << " is longer than the hard limit";
    if (extension == ".h" && text.find("HWY_TARGET_TOGGLE") == std::string::npos) {
      EXPECT_NE(text.find("#pragma once"), std::string::npos) << relative;
    }
    for (const std::string& target : included_folders(text)) {
      if (target == "hwy")
        continue;  // Highway's own header, written with quotes by its convention.
      const bool allowed = target == folder || table.at(folder).below.contains(target);
      EXPECT_TRUE(allowed) << relative << " includes " << target << "/, which " << folder
                           << "/ may not";
    }
    ++file_count;
  }
  EXPECT_GT(file_count, 20);
}

// Pages that code, documents and recipes point to, as "docs/NAME.md".
TEST(Docs, EveryPageThatIsNamedExists) {
  const Path root(DURE_SOURCE_DIR);
  std::set<std::string> named;
  for (const char* folder : {"src", "tests", "bench", "fuzz", "tools", "recipes", "docs"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const std::set<std::string> kinds = {".cc", ".h", ".md", ".py", ".sh", ".txt", ".yaml"};
      if (!entry.is_regular_file() || !kinds.contains(entry.path().extension().string())) continue;
      const std::string text = read_file(entry.path());
      for (size_t at = text.find("docs/"); at != std::string::npos;
           at = text.find("docs/", at + 1)) {
        const size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_", at + 5);
        if (end != std::string::npos && text.compare(end, 3, ".md") == 0)
          named.insert(text.substr(at, end + 3 - at));
      }
    }
  }
  EXPECT_GE(named.size(), 10u);
  for (const std::string& page : named) EXPECT_TRUE(path_exists(root / page)) << page;
}

}  // namespace
}  // namespace dure
