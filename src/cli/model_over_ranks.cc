// All that ranks do together stands here in the order of all of them.
#include "cli/model_over_ranks.h"

#include "base/hash.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/shared_log.h"
#include "cli/rank_facts.h"
#include "comm/ranks.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

// What tells one model's files from another's without reading them.
std::string files_text(const ModelFiles& files) {
  std::string text;
  for (const Path& file : files.weight_files())
    text += fmt::format("{}:{}|", file.filename().string(), std::filesystem::file_size(file));
  return fmt::format("hash {:016x}", xxh64(text + std::to_string(files.stored_bytes())));
}

std::string expert_range(const ModelConfig& config, const Holding& holding) {
  std::string out;
  for (int64_t i = 0; i < config.layer_count(); ++i) {
    if (!config.layer(i).sparse) continue;
    const ExpertRange range = experts_held(holding, config.layer(i).experts.count);
    return fmt::format("experts {} to {}", range.begin, range.end - 1);
  }
  return out;
}

}  // namespace

ModelOverRanks::ModelOverRanks(Group& world, const std::string& model,
                               const ModelOverRanksOptions& options)
    : world_(world), options_(options) {
  world_.together("opening the model", [&] { open(model, options.arithmetic); });
  require_alike(world_, "the model's files", files_text(*model_.files),
                "all ranks must see the same model");
  tell_holdings();
  lifeline_.emplace(world_,
                    LifelineEvents{.gone =
                                       [this](int rank) {
                                         world_.transport()->set_gone(rank);
                                         lose({ErrorCode::kIo, rank, /*heard=*/false,
                                               fmt::format("{} died", world_.name_of(rank))});
                                       },
                                   .signalled = [this](int) { signalled_ = true; }});
  const int others = is_front() ? world_.size() - 1 : 1;
  if (lifeline_->connected() < others)
    log_own_warn("{} of {} lifelines: a rank's death shows when it is next asked, within {:.0f} s",
                 lifeline_->connected(), others, options_.limit_s);
}

ModelOverRanks::~ModelOverRanks() = default;

void ModelOverRanks::open(const std::string& model, Arithmetic arithmetic) {
  {
    const ModelFiles headers{Path(model)};
    check_expert_parts(headers.config(), ranks(), model);
  }
  holding_ = is_front() ? front_holding(ranks()) : worker_holding(world_.rank(), ranks());
  model_ = open_model(model, arithmetic, holding_);
}

// One line a rank, on the first.
void ModelOverRanks::tell_holdings() {
  const WeightBytes bytes = open_weights_bytes(*model_.files, holding_);
  const std::string mine =
      fmt::format("{}: {} of weights: {}{}", world_.name_of(world_.rank()),
                  format_bytes(static_cast<double>(bytes.mapped + bytes.copied)),
                  expert_range(model_.weights.config, holding_),
                  is_front() ? ", and all but the routed experts" : "");
  for (const std::string& line : world_.all_gather_text(mine, "who holds what"))
    if (is_front()) log_info("{}", line);
}

int64_t ModelOverRanks::front_bytes(int64_t rows_max) const {
  return ExpertFront::bytes(model_.weights.config, {.rows_max = rows_max}, ranks());
}

void ModelOverRanks::start(int64_t rows_max, Stream& stream) {
  front_.emplace(world_, model_.weights.config,
                 ExpertFrontOptions{.rows_max = rows_max, .limit_s = options_.limit_s},
                 stream.device(), [this](const std::exception_ptr& thrown) {
                   try {
                     std::rethrow_exception(thrown);
                   } catch (const RankFailure& failure) {
                     lose(failure);
                   } catch (const std::exception& error) {
                     lose({ErrorCode::kIo, world_.rank(), /*heard=*/false,
                           fmt::format("{}: {}", world_.name_of(world_.rank()), error.what())});
                   }
                 });
  model_.weights.experts = &*front_;
}

// A signal is the first rank's to follow: it says when all end.
void ModelOverRanks::work(Stream& stream) {
  const InterruptScope scope;
  serve_experts(world_, model_.weights, options_.limit_s, stream);
  lifeline_->say_goodbye();
}

void ModelOverRanks::end() {
  front_->end();
  lifeline_->say_goodbye();
}

void ModelOverRanks::lose(const RankFailure& failure) {
  const std::lock_guard lock(mutex_);
  if (!lost_) lost_.emplace(failure);
  lost_now_ = true;
}

void ModelOverRanks::throw_if_lost() const {
  const std::lock_guard lock(mutex_);
  if (lost_) throw RankFailure(*lost_);
}

ExpertStatistics ModelOverRanks::statistics() const {
  return front_ ? front_->statistics() : ExpertStatistics{};
}

void work_for_front(Group& world, const std::string& model, const ModelOverRanksOptions& options,
                    const PreloadFlag& preload) {
  ModelOverRanks ranks(world, model, options);
  CpuStream stream;
  preload.run(ranks.model().weights, ranks.model().texts.source, stream);
  ranks.work(stream);
}

void over_all_ranks(const std::string& model, const ModelOverRanksOptions& options,
                    const PreloadFlag& preload, const Json& alike,
                    const std::function<void(OpenModel&, ModelOverRanks*)>& use) {
  run_in_all_ranks(kOpeningRanks_s, rank_facts(alike), [&](Group& world) {
    const std::string path = find_model(model).string();
    if (!world.is_first()) return work_for_front(world, path, options, preload);
    if (world.size() == 1) {
      OpenModel whole = open_model(path, options.arithmetic);
      return use(whole, nullptr);
    }
    ModelOverRanks ranks(world, path, options);
    try {
      use(ranks.model(), &ranks);
    } catch (const Error&) {
      ranks.throw_if_lost();  // whose loss it was
      throw;
    }
    ranks.throw_if_lost();
    ranks.end();
  });
}

}  // namespace dure
