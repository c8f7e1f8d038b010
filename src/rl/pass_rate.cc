// Items in pieces of as many answers as are decoded together; a piece's lines are one write.
#include "rl/pass_rate.h"

#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "grade/grader.h"
#include "train/metrics.h"

namespace dure {

PassRateTable::PassRateTable(const Path& path, const Json& settings, bool trusted, Group& ranks)
    : path_(path), writes_(ranks.is_first()) {
  ranks.together("opening the pass rates", [&] {
    if (writes_) open(settings, trusted);
  });
  if (!writes_) read(settings, trusted);  // As the first one left it.
}

void PassRateTable::open(const Json& settings, bool trusted) {
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
      const std::pair key{row.at("source").as_string("source"), row.at("item").as_string("item")};
      rates_[key] = pass.is_null() ? NAN : pass.as_double("pass");
      failed_.erase(key);
      if (row.contains("failures") && !trusted) failed_.insert(key);
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

bool PassRateTable::failed(const PoolItem& item, const ItemPool& items) const {
  return failed_.contains({items.source_name(item.source), item.item.id});
}

void PassRateTable::add(const PoolItem& item, const ItemPool& items,
                        const std::vector<double>& scores,
                        const std::map<std::string, int64_t>& failures) {
  double sum = 0;
  for (const double score : scores) sum += score;
  const double pass = scores.empty() ? NAN : sum / static_cast<double>(scores.size());
  rates_[{items.source_name(item.source), item.item.id}] = pass;
  Json row = Json::object();
  row["source"] = items.source_name(item.source);
  row["item"] = item.item.id;
  row["pass"] = scores.empty() ? Json() : Json(pass);
  row["scores"] = Json::array_of(scores);
  for (const auto& [kind, count] : failures) row["failures"][kind] = count;
  if (writes_) append_file(path_, row.dump() + "\n");
}

namespace {

// Answers of this pass whose grading failed.
struct Failures {
  int64_t answers = 0, failed = 0;
  int64_t too_long = 0;  // episodes whose beginning left no room
  std::map<std::string, int64_t> kinds;
};

void ask_piece(const PromptSource& source, std::vector<const PoolItem*> piece, int64_t samples,
               const PromptRoom& room, Generator& generator, PassRateTable& table,
               const ItemPool& items, Group& ranks, Failures& all) {
  const std::vector<Rollout> rollouts =
      answer_items(source, {.items = piece, .copies = samples, .stream = "rl pass rate"}, room,
                   generator, ranks);
  for (size_t i = 0; i < piece.size(); ++i) {
    std::vector<double> scores;
    std::map<std::string, int64_t> failures;
    for (const Rollout& r : rollouts) {
      if (r.item != piece[i]) continue;
      ++all.answers;
      all.too_long += r.episode && r.episode->too_long ? 1 : 0;
      if (!r.grade.failure.empty()) {
        ++failures[r.grade.failure];
        ++all.kinds[r.grade.failure];
        ++all.failed;
      } else if (!r.dropped) {
        scores.push_back(r.score);
      }
    }
    table.add(*piece[i], items, scores, failures);
  }
}

// What failed is asked again by the next pass, so that nothing is chosen by it for good.
void require_graded(const Failures& failures, const Group& ranks) {
  if (failures.too_long > 0 && failures.too_long == failures.answers)
    fail(ErrorCode::kInvalidArgument,
         "filter: all {} episodes begin beyond environment.max_tokens: raise it", failures.answers);
  if (failures.failed == 0) return;
  if (failures.failed == failures.answers) {
    fail(ErrorCode::kUnavailable,
         "filter: none of {} answers could be graded ({}): mend the verifier or environment, and "
         "run the same command again",
         failures.answers, failure_kinds(failures.kinds));
  }
  if (!ranks.is_first()) return;
  log_warn("filter: {} of {} answers could not be graded ({}) and are left out", failures.failed,
           failures.answers, failure_kinds(failures.kinds));
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
                       ItemPool& items, Group& ranks) {
  const std::vector<const PoolItem*> all = items.train();
  std::vector<const PoolItem*> wanted;
  for (const PoolItem* item : all)
    if (!table.pass(*item, items) || table.failed(*item, items)) wanted.push_back(item);
  const int64_t together =
      ranks.size() *
      std::max<int64_t>(1, source.options.sequences_max / std::max<int64_t>(1, bounds.samples));
  Failures failures;
  const InterruptScope scope;
  std::optional<Progress> progress;
  if (ranks.is_first()) {
    progress.emplace("filter", std::ssize(all), "items");
    progress->start_at(std::ssize(all) - std::ssize(wanted));
  }
  for (size_t begin = 0; begin < wanted.size(); begin += static_cast<size_t>(together)) {
    if (ranks.any(interrupted(), "a look for signals"))
      fail(ErrorCode::kInterrupted,
           "interrupted; the items asked so far are kept: the same command goes on");
    const size_t end = std::min(wanted.size(), begin + static_cast<size_t>(together));
    ask_piece(source,
              {wanted.begin() + static_cast<std::ptrdiff_t>(begin),
               wanted.begin() + static_cast<std::ptrdiff_t>(end)},
              bounds.samples, room, generator, table, items, ranks, failures);
    if (progress)
      progress->update(std::ssize(all) - std::ssize(wanted) + static_cast<int64_t>(end));
  }
  if (progress) progress->finish();
  require_graded(failures, ranks);
  if (ranks.is_first()) tell(bounds, all, table, items);
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
