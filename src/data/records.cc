// Bad records: the first few logged, some more named, all counted.
#include "data/records.h"

#include "base/error.h"
#include "base/log.h"

namespace dure {

void BadRecords::add(const std::string& file, int64_t line, const std::string& reason) {
  constexpr int64_t kShownMax = 5;
  std::string text =
      line > 0 ? fmt::format("{}:{}: {}", file, line, reason) : fmt::format("{}: {}", file, reason);
  if (!advice_.empty()) fail(ErrorCode::kInvalidArgument, "{}; {}", text, advice_);
  if (++count_ <= kShownMax) log_warn("bad record: {}", text);
  if (count_ == kShownMax + 1) log_warn("more bad records follow: only counted from here");
  if (named_.size() < kNamedMax) named_.push_back(std::move(text));
}

}  // namespace dure
