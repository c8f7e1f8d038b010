// The tree obeys its own table: every #include points to the same folder or to one that
// tools/layers.txt names, the table has no cycle, no file is longer than 1,000 lines, and every
// source of src/ stands in a folder of the table.
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

}  // namespace
}  // namespace dure
