// rl/pass_rate.h: how often a model is right on each item before it learns: the first pass that
// chooses what to learn from.
//
// Owns FOLDER/filter.jsonl: a line that says what it was measured with, then a line an item
// {"source", "item", "pass", "scores"}, with "failures" where answers could not be graded. Written
// as the pass goes: killed and started again, it asks nothing twice; measured with the same items,
// model and settings before, it asks only the items with failures again. Not
// here: asking (rollout.h), what is done with the items (item_pool.h).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "rl/rollout.h"

namespace dure {

class PassRateTable {
 public:
  // What is there, where it was measured with `settings`; else it begins anew (`trusted`: what is
  // there stands, whatever it was measured with). Over ranks all have it, and the first one writes.
  PassRateTable(const Path& path, const Json& settings, bool trusted,
                Group& ranks = Group::alone());

  // Mean score; absent: never asked. NaN: no answer could be graded.
  std::optional<double> pass(const PoolItem& item, const ItemPool& items) const;
  // Whether its grading failed in part: what is there stands only until it is asked again.
  bool failed(const PoolItem& item, const ItemPool& items) const;
  // Of one item, in order; those without a score are left out. `failures`: answers whose grading
  // failed, by kind.
  void add(const PoolItem& item, const ItemPool& items, const std::vector<double>& scores,
           const std::map<std::string, int64_t>& failures = {});
  int64_t size() const { return std::ssize(rates_); }

 private:
  void open(const Json& settings, bool trusted);
  bool read(const Json& settings, bool trusted);
  Path path_;
  bool writes_;
  std::map<std::pair<std::string, std::string>, double> rates_;
  std::set<std::pair<std::string, std::string>> failed_;
};

struct PassRateBounds {
  int64_t samples = 0;
  double min = 0, max = 1;  // kept is what lies between, neither end included
};

// Asks what the table lacks, over `ranks` each some of it, then keeps of `items` what lies between
// the bounds. Shows progress. Throws kInterrupted on Ctrl-C (what was asked is kept);
// kInvalidArgument where nothing is left, kUnavailable where no answer could be graded.
void keep_by_pass_rate(const PassRateBounds& bounds, const PromptSource& source,
                       const PromptRoom& room, Generator& generator, PassRateTable& table,
                       ItemPool& items, Group& ranks = Group::alone());

}  // namespace dure
