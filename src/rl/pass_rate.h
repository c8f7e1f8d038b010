// rl/pass_rate.h: how often a model is right on each item before it learns: the first pass that
// chooses what to learn from.
//
// Owns FOLDER/filter.jsonl: a line that says what it was measured with, then a line an item
// {"source", "item", "pass", "scores"}. Written as the pass goes: killed and started again, it asks
// nothing twice; measured with the same items, model and settings before, it asks nothing. Not
// here: asking (rollout.h), what is done with the items (item_pool.h).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "rl/rollout.h"

namespace dure {

class PassRateTable {
 public:
  // What is there, where it was measured with `settings`; else it begins anew (`trusted`: what is
  // there stands, whatever it was measured with).
  PassRateTable(const Path& path, const Json& settings, bool trusted);

  // Mean score; absent: never asked. NaN: no answer could be graded.
  std::optional<double> pass(const PoolItem& item, const ItemPool& items) const;
  // Of one item, in order; those without a score are left out.
  void add(const PoolItem& item, const ItemPool& items, const std::vector<double>& scores);
  int64_t size() const { return std::ssize(rates_); }

 private:
  bool read(const Json& settings, bool trusted);
  Path path_;
  std::map<std::pair<std::string, std::string>, double> rates_;
};

struct PassRateBounds {
  int64_t samples = 0;
  double min = 0, max = 1;  // kept is what lies between, neither end included
};

// Asks what the table lacks, then keeps of `items` what lies between the bounds. Shows progress.
// Throws kInterrupted on Ctrl-C (what was asked is kept); kInvalidArgument where nothing is left.
void keep_by_pass_rate(const PassRateBounds& bounds, const PromptSource& source,
                       const PromptRoom& room, Generator& generator, PassRateTable& table,
                       ItemPool& items);

}  // namespace dure
