// data/records.h: records that could not be used: counted, the first ones named, none swallowed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dure {

class BadRecords {
 public:
  static constexpr size_t kNamedMax = 20;
  // `line` 0 where the whole file is meant. The first few are also logged as warnings.
  void add(const std::string& file, int64_t line, const std::string& reason);
  int64_t count() const { return count_; }
  // "FILE:LINE: REASON", the first kNamedMax.
  const std::vector<std::string>& named() const { return named_; }

 private:
  int64_t count_ = 0;
  std::vector<std::string> named_;
};

}  // namespace dure
