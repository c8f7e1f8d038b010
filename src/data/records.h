// data/records.h: records that could not be used: counted, the first ones named, none swallowed.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"

namespace dure {

// Whether a row that cannot be used ends a run before its first step.
enum class BadRows : uint8_t { kRefuse, kDrop };
constexpr auto enum_names(BadRows) {
  return std::to_array<EnumName<BadRows>>({{BadRows::kRefuse, "refuse"}, {BadRows::kDrop, "drop"}});
}

class BadRecords {
 public:
  static constexpr size_t kNamedMax = 20;
  // From now on add() throws kInvalidArgument: the record and `advice`.
  void refuse(const std::string& advice) { advice_ = advice; }
  // `line` 0 where the whole file is meant. The first few are also logged as warnings.
  void add(const std::string& file, int64_t line, const std::string& reason);
  int64_t count() const { return count_; }
  // "FILE:LINE: REASON", the first kNamedMax.
  const std::vector<std::string>& named() const { return named_; }

 private:
  int64_t count_ = 0;
  std::string advice_;  // Empty: records are counted.
  std::vector<std::string> named_;
};

}  // namespace dure
