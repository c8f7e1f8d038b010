// Items in pieces of as many answers as are decoded together; a piece's lines are one write.
#include "rl/pass_rate.h"

#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "train/metrics.h"

namespace dure {

PassRateTable::PassRateTable(const Path& path, const Json& settings, bool trusted) : path_(path) {
  if (path_exists(path_) && read(settings, trusted)) return;
  if (trusted) {
    fail(ErrorCode::kCorrupt,
         "{}: the pass rates that this run began with are not there; put the file back, or begin "
         "the run anew",
         path_.string());
  }
  if (path_exists(path_))
    log_info("{}: measured with other items, model or settings: begins anew", path_.string());
  rates_.clear();
  make_folders(path_.parent_path());
  Json head = Json::object();
  head["settings"] = settings;
  write_file(path_, head.dump() + "\n");
}

// A torn last line is left away, in the file too.
bool PassRateTable::read(const Json& settings, bool trusted) {
  const std::string text = read_file(path_);
  size_t whole = 0;
  bool head = true;
  for (size_t end; (end = text.find('\n', whole)) != std::string::npos; whole = end + 1) {
    const Json row = parse_json(std::string_view(text).substr(whole, end - whole), path_.string());
    if (head && !trusted && !(row.at("settings") == settings)) return false;
    if (!head) {
      const Json& pass = row.at("pass");
      rates_[{row.at("source").as_string("source"), row.at("item").as_string("item")}] =
          pass.is_null() ? NAN : pass.as_double("pass");
    }
    head = false;
  }
  if (whole < text.size()) write_file(path_, text.substr(0, whole));
  return !head;
}

std::optional<double> PassRateTable::pass(const PoolItem& item, const ItemPool& items) const {
  const auto found = rates_.find({items.source_name(item.source), item.item.id});
  if (found == rates_.end()) return std::nullopt;
  return found->second;
}

void PassRateTable::add(const PoolItem& item, const ItemPool& items,
                        const std::vector<double>& scores) {
  double sum = 0;
  for (const double score : scores) sum += score;
  const double pass = scores.empty() ? NAN : sum / static_cast<double>(scores.size());
  rates_[{items.source_name(item.source), item.item.id}] = pass;
  Json row = Json::object();
  row["source"] = items.source_name(item.source);
  row["item"] = item.item.id;
  row["pass"] = scores.empty() ? Json() : Json(pass);
  row["scores"] = Json::array_of(scores);
  append_file(path_, row.dump() + "\n");
}

namespace {

void ask_piece(const PromptSource& source, std::vector<const PoolItem*> piece, int64_t samples,
               const PromptRoom& room, Generator& generator, PassRateTable& table,
               const ItemPool& items) {
  const std::vector<Rollout> rollouts = answer_items(
      source, {.items = piece, .copies = samples, .stream = "rl pass rate"}, room, generator);
  for (size_t i = 0; i < piece.size(); ++i) {
    std::vector<double> scores;
    for (const Rollout& r : rollouts) {
      if (r.item == piece[i] && !r.dropped) scores.push_back(r.score);
    }
    table.add(*piece[i], items, scores);
  }
}

void tell(const PassRateBounds& bounds, const std::vector<const PoolItem*>& all,
          const PassRateTable& table, const ItemPool& items) {
  int64_t low = 0, high = 0, unknown = 0;
  for (const PoolItem* item : all) {
    const double pass = *table.pass(*item, items);
    unknown += std::isnan(pass) ? 1 : 0;
    low += pass <= bounds.min ? 1 : 0;
    high += pass >= bounds.max ? 1 : 0;
  }
  log_info("filter: {} of {} items are kept ({} at {} or below, {} at {} or above, {} not graded)",
           std::ssize(all) - low - high - unknown, std::ssize(all), low, bounds.min, high,
           bounds.max, unknown);
}

}  // namespace

void keep_by_pass_rate(const PassRateBounds& bounds, const PromptSource& source,
                       const PromptRoom& room, Generator& generator, PassRateTable& table,
                       ItemPool& items) {
  const std::vector<const PoolItem*> all = items.train();
  std::vector<const PoolItem*> wanted;
  for (const PoolItem* item : all)
    if (!table.pass(*item, items)) wanted.push_back(item);
  const int64_t together =
      std::max<int64_t>(1, source.options.sequences_max / std::max<int64_t>(1, bounds.samples));
  const InterruptScope scope;
  Progress progress("filter", std::ssize(all), "items");
  progress.start_at(std::ssize(all) - std::ssize(wanted));
  for (size_t begin = 0; begin < wanted.size(); begin += static_cast<size_t>(together)) {
    throw_if_interrupted("the items asked so far are kept: the same command goes on");
    const size_t end = std::min(wanted.size(), begin + static_cast<size_t>(together));
    ask_piece(source,
              {wanted.begin() + static_cast<std::ptrdiff_t>(begin),
               wanted.begin() + static_cast<std::ptrdiff_t>(end)},
              bounds.samples, room, generator, table, items);
    progress.update(std::ssize(all) - std::ssize(wanted) + static_cast<int64_t>(end));
  }
  progress.finish();
  tell(bounds, all, table, items);
  // Held-out items are measured whatever they earn.
  items.keep_to_learn(
      [&](const PoolItem& item) {
        const double pass = *table.pass(item, items);
        return pass > bounds.min && pass < bounds.max;
      },
      fmt::format(": none earns more than {} and less than {}; widen filter.min and filter.max, or "
                  "begin with another model",
                  bounds.min, bounds.max));
}

}  // namespace dure
