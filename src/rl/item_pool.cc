// Sources are read as evaluation reads them; who is drawn next is counted from the run's beginning.
#include "rl/item_pool.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "suite/suite.h"
#include "suite/task_items.h"

namespace dure {
namespace {

constexpr int64_t kGenerated = -1;

// Rows may name their own.
Json spec_of(const ItemSourceOptions& options, const VerifierOptions& verifier) {
  if (!options.grader.json.is_null() || !verifier.given()) return options.grader.json;
  Json out = to_json(verifier);
  out["name"] = verifier.url.empty() ? "command" : "http";
  return out;
}

std::string hash_of(const std::vector<Item>& items) {
  uint64_t hash = 0;
  for (const Item& item : items) hash = xxh64(item_to_json(item).dump(), hash);
  return fmt::format("{:016x}", hash);
}

}  // namespace

bool is_heldout(const Item& item, int64_t one_in) {
  if (one_in <= 0) return false;
  uint64_t hash = xxh64(messages_to_json(item.messages).dump());
  if (!item.tools.is_null()) hash = xxh64(item.tools.dump(), hash);
  return hash % static_cast<uint64_t>(one_in) == 0;
}

ItemPool::ItemPool(const Options& options)
    : tasks_weight_(options.tasks_weight),
      heldout_one_in_(options.heldout_one_in),
      prompts_per_step_(options.prompts_per_step),
      seed_(options.seed) {
  for (const ItemSourceOptions& source : options.sources) read(source, options);
  require_items(
      "; give it more items, or a smaller held-out share (heldout.one_in: 0 holds none out, a "
      "larger number fewer)");
  counts_.assign(sources_.size(), 0);
  orders_.resize(sources_.size());
}

void ItemPool::read(const ItemSourceOptions& options, const Options& all) {
  const VerifierOptions& verifier = all.verifier;
  const std::string where = fmt::format("items {}", sources_.size() + 1);
  if (options.file.empty()) fail(ErrorCode::kInvalidArgument, "{}: file is empty", where);
  if (!path_exists(options.file))
    fail(ErrorCode::kNotFound, "{}: file: there is no {}", where, options.file);
  if (std::filesystem::is_directory(options.file))
    fail(ErrorCode::kInvalidArgument, "{}: file: {} is a folder: name a file in it", where,
         options.file);
  if (options.file.find(".jsonl") == std::string::npos)
    fail(ErrorCode::kInvalidArgument, "{}: file: {} is no .jsonl", where, options.file);
  if (options.environment.given() && !options.grader.json.is_null())
    fail(ErrorCode::kInvalidArgument,
         "{}: give a grader or an environment: an environment says itself what an episode is worth",
         where);
  const TaskSpec task = task_of_items_file(options.file, spec_of(options, verifier));
  Source source{.name = options.name.empty() ? task.name : options.name,
                .file = options.file,
                .weight = options.weight,
                .grader_spec = task.grader,
                .environment_options = options.environment,
                .row_programs = options.row_programs};
  if (!options.environment.given() && options.grader.json.is_null())
    source.environment_options = all.environment;
  for (const Source& other : sources_) {
    if (other.name == source.name)
      fail(ErrorCode::kInvalidArgument, "{}: another source is named '{}': give it a name", where,
           source.name);
  }
  std::vector<Item> items = task_items(task, {});
  source.hash = hash_of(items);
  for (Item& item : items) {
    const bool held = is_heldout(item, heldout_one_in_);
    (held ? heldout_ : source.train).push_back({std::move(item), std::ssize(sources_)});
  }
  sources_.push_back(std::move(source));
}

void ItemPool::require_items(const std::string& why) const {
  for (const Source& source : sources_) {
    if (source.train.empty())
      fail(ErrorCode::kInvalidArgument, "{}: no item is left to learn from{}", source.file, why);
  }
}

namespace {

void check_item(const Grader& grader, const Item& item, const std::string& file) {
  try {
    grader.check(item);
  } catch (const Error& error) {
    const std::string_view said = error.what();
    const bool named = said.starts_with("items " + file) || said.starts_with(file);
    fail(error.code(), "{}{}", named ? "" : file + ": ", said);
  }
}

}  // namespace

void ItemPool::open_graders(const std::string& folder) {
  const GraderTable table = suite_graders();
  const std::string log = folder.empty() ? "" : (Path(folder) / "environment.log").string();
  for (Source& source : sources_) {
    const GraderWorld world{
        .ask_judge = nullptr, .folder = folder, .row_programs = source.row_programs};
    if (source.environment_options.given()) {
      source.environment = make_environment(source.environment_options, log,
                                            "items " + source.file + ": environment");
      for (const PoolItem& item : source.train) source.environment->check(item.item);
      continue;
    }
    source.grader = make_grader(table, source.grader_spec, world, "items " + source.file);
    for (const PoolItem& item : source.train) check_item(*source.grader, item.item, source.file);
  }
  for (const PoolItem& item : heldout_)
    if (environment(item) == nullptr)
      check_item(grader(item), item.item, sources_[static_cast<size_t>(item.source)].file);
}

const Grader& ItemPool::grader(const PoolItem& item) const {
  return *sources_[static_cast<size_t>(item.source)].grader;
}

int64_t ItemPool::grading_threads() const {
  int64_t out = 1;
  for (const Source& source : sources_)
    if (source.grader != nullptr) out = std::max(out, source.grader->concurrency());
  return out;
}

const Environment* ItemPool::environment(const PoolItem& item) const {
  return sources_[static_cast<size_t>(item.source)].environment.get();
}

bool ItemPool::has_environment(const PoolItem& item) const {
  return sources_[static_cast<size_t>(item.source)].environment_options.given();
}

int64_t ItemPool::episode_tokens_max() const {
  int64_t out = 0;
  for (const Source& source : sources_)
    if (source.environment_options.given())
      out = std::max(out, source.environment_options.max_tokens);
  return out;
}

void ItemPool::keep(const Keeps& keeps, const std::string& why) {
  std::erase_if(heldout_, [&](const PoolItem& item) { return !keeps(item); });
  keep_to_learn(keeps, why);
}

void ItemPool::keep_to_learn(const Keeps& keeps, const std::string& why) {
  for (Source& source : sources_)
    std::erase_if(source.train, [&](const PoolItem& item) { return !keeps(item); });
  require_items(why);
}

std::vector<const PoolItem*> ItemPool::train() const {
  std::vector<const PoolItem*> out;
  for (const Source& source : sources_)
    for (const PoolItem& item : source.train) out.push_back(&item);
  return out;
}

int64_t ItemPool::choose(int64_t step, int64_t group) const {
  if (tasks_weight_ == 0 && sources_.size() == 1) return 0;
  double total = tasks_weight_;
  for (const Source& source : sources_) total += source.weight;
  Rng rng(seed_, stream_id("rl source", static_cast<uint64_t>(step), static_cast<uint64_t>(group)));
  double place = rng.uniform() * total;
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (place < sources_[i].weight) return static_cast<int64_t>(i);
    place -= sources_[i].weight;
  }
  return tasks_weight_ > 0 ? kGenerated : std::ssize(sources_) - 1;
}

const PoolItem* ItemPool::next(int64_t source, int64_t count) const {
  const std::vector<PoolItem>& items = sources_[static_cast<size_t>(source)].train;
  Order& order = orders_[static_cast<size_t>(source)];
  const int64_t epoch = count / std::ssize(items);
  if (order.epoch != epoch) {
    order.epoch = epoch;
    order.places.resize(items.size());
    std::iota(order.places.begin(), order.places.end(), size_t{0});
    Rng rng(seed_,
            stream_id("rl items", static_cast<uint64_t>(source), static_cast<uint64_t>(epoch)));
    rng.shuffle(order.places);
  }
  return &items[order.places[static_cast<size_t>(count % std::ssize(items))]];
}

const PoolItem* ItemPool::draw(int64_t step, int64_t group) const {
  if (group < prompts_per_step_) return draws(step)[static_cast<size_t>(group)];
  const int64_t source = choose(step, group);
  if (source == kGenerated) return nullptr;
  const std::vector<PoolItem>& items = sources_[static_cast<size_t>(source)].train;
  Rng rng(seed_, stream_id("rl refill", static_cast<uint64_t>(step), static_cast<uint64_t>(group)));
  return &items[static_cast<size_t>(rng.below(std::ssize(items)))];
}

const std::vector<const PoolItem*>& ItemPool::draws(int64_t step) const {
  if (step == drawn_step_) return draws_;
  if (step < counted_) {
    counts_.assign(sources_.size(), 0);
    counted_ = 0;
  }
  while (counted_ <= step) {
    const bool wanted = counted_ == step;
    if (wanted) draws_.clear();
    for (int64_t group = 0; group < prompts_per_step_; ++group) {
      const int64_t source = choose(counted_, group);
      const int64_t count = source == kGenerated ? 0 : counts_[static_cast<size_t>(source)]++;
      if (wanted) draws_.push_back(source == kGenerated ? nullptr : next(source, count));
    }
    ++counted_;
  }
  drawn_step_ = step;
  return draws_;
}

Json ItemPool::identity() const {
  Json out = Json::array();
  for (const Source& source : sources_) {
    Json one = Json::object();
    one["name"] = source.name;
    one["content"] = source.hash;
    one["weight"] = source.weight;
    if (source.environment_options.given()) {
      one["max_turns"] = source.environment_options.max_turns;
      one["max_tokens"] = source.environment_options.max_tokens;
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace dure
