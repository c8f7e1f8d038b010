// tests/golden.h: where golden cases lie, and how the largest difference of a quantity is reported.
//
// Roots: the project's own tests/golden/ and the folder in DURE_GOLDEN (default: ../shared/golden
// and ../shared/golden-rivals beside the source tree, where they exist). A kind (such as "hf") may
// be present in both, in one, or in none: a test then says so and passes. A folder that DURE_GOLDEN
// names must be there.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace dure::golden {

// Existing folders ROOT/kind, own first.
inline std::vector<Path> roots(const std::string& kind) {
  const Path source(DURE_SOURCE_DIR);
  const char* named = std::getenv("DURE_GOLDEN");
  EXPECT_TRUE(named == nullptr || std::filesystem::is_directory(named))
      << "DURE_GOLDEN is " << named << ", which is no folder";
  std::vector<Path> found;
  const Path shared = source.parent_path() / "shared";
  std::vector<Path> all = {source / "tests" / "golden"};
  if (named != nullptr) {
    all.emplace_back(named);
  } else {
    all.push_back(shared / "golden");
    all.push_back(shared / "golden-rivals");
  }
  for (const Path& root : all) {
    if (std::filesystem::is_directory(root / kind)) found.push_back(root / kind);
  }
  if (found.empty()) std::printf("skipped: no golden folder '%s'\n", kind.c_str());
  return found;
}

// Sub-folders of ROOT/kind, sorted: one case each.
inline std::vector<Path> case_folders(const std::string& kind) {
  std::vector<Path> cases;
  for (const Path& root : roots(kind)) {
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      if (entry.is_directory()) cases.push_back(entry.path());
    }
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

// Largest differences by quantity; printed when the object goes.
class Report {
 public:
  explicit Report(std::string title) : title_(std::move(title)) {}
  ~Report() {
    for (const auto& [quantity, worst] : worst_) {
      std::printf("golden %s: %-28s largest difference %.3g of %lld values (%s)\n", title_.c_str(),
                  quantity.c_str(), worst.value, static_cast<long long>(worst.count),
                  worst.where.c_str());
    }
  }
  void add(const std::string& quantity, double difference, const std::string& where) {
    Worst& worst = worst_[quantity];
    ++worst.count;
    if (std::isnan(difference)) difference = HUGE_VAL;  // NaN counts as worst, and stays it.
    if (difference > worst.value) {
      worst.value = difference;
      worst.where = where;
    }
  }
  double worst(const std::string& quantity) const {
    const auto found = worst_.find(quantity);
    return found == worst_.end() ? 0 : found->second.value;
  }

 private:
  struct Worst {
    double value = 0;
    int64_t count = 0;
    std::string where = "all equal";
  };
  std::string title_;
  std::map<std::string, Worst> worst_;
};

}  // namespace dure::golden
