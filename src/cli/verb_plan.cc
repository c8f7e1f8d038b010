// `dure plan MODEL|CONFIG`: bytes of a run before it starts, and what fits this machine.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/args.h"
#include "cli/draft_flags.h"
#include "cli/kv_type_flag.h"
#include "cli/memory_plan.h"
#include "cli/rank_plan_flags.h"
#include "cli/verbs.h"
#include "formats/hf_config.h"
#include "formats/model_folder.h"
#include "kernels/arithmetic.h"
#include "rl/preference_stage.h"
#include "text/tokenizer.h"
#include "train/starting_model.h"
#include "train/trainer.h"

namespace dure {
namespace {

struct PlanArgs {
  std::string model;
  std::optional<std::string> optimiser;
  KvTypeFlag kv_type;
  DraftFlags draft;
  std::optional<int64_t> context, sequences, prefixes, rows, tokens, vocabulary, memory_gib, lora;
  std::optional<std::string> lora_targets, type;
  bool json = false, train = false, recompute = false;
  RankPlanFlags ranks;
};

// What is planned for, whatever MODEL|CONFIG was.
struct Subject {
  ModelConfig config;
  std::unique_ptr<ModelFiles> files;
  bool train = false;
  LearnerOptions learner;
  StepShape step{.rows = 0};  // rows: where a recipe says them
  std::optional<AdapterSubject> adapter;
  std::optional<RlConfig> rl;
  const AdapterSubject* adapter_or_null() const { return adapter ? &*adapter : nullptr; }
  PromptRoom room;        // rl
  BesideLearning beside;  // rl and preferences
};

bool is_yaml(const Path& path) { return path.extension() == ".yaml" || path.extension() == ".yml"; }

// Fields that a recipe of reinforcement learning has and one of training has not.
bool is_rl_recipe(const Json& json) {
  for (const char* field : {"rollout", "tasks", "objective", "updates_per_step", "micro_rows_max"})
    if (json.find(field) != nullptr) return true;
  return false;
}

// Its data is files of preferences.
bool is_prefer_recipe(const Json& json) {
  const Json* data = json.find("data");
  return data != nullptr && data->find("files") != nullptr && json.find("stage") == nullptr;
}

// Flags of one kind of plan have no effect on another: refused, naming the first.
void refuse_given(std::initializer_list<std::pair<const char*, bool>> flags, const char* why) {
  for (const auto& [name, given] : flags) {
    if (given) fail(ErrorCode::kInvalidArgument, "{} has no effect here: {}", name, why);
  }
}
void refuse_serving_flags(const PlanArgs& args, const char* why) {
  refuse_given({{"--context", args.context.has_value()},
                {"--sequences", args.sequences.has_value()},
                {"--draft or --drafter", args.draft.given()},
                {"--prefixes", args.prefixes.has_value()},
                {"--kv-type", args.kv_type.given()}},
               why);
}
void refuse_training_flags(const PlanArgs& args, const char* why) {
  refuse_given({{"--rows", args.rows.has_value()},
                {"--optimiser", args.optimiser.has_value()},
                {"--lora", args.lora.has_value()},
                {"--lora-targets", args.lora_targets.has_value()},
                {"--recompute", args.recompute}},
               why);
}
// Those of training, and of serving over ranks.
void refuse_shape_flags(const PlanArgs& args, const char* why) {
  refuse_given({{"--tokens", args.tokens.has_value()}, {"--type", args.type.has_value()}}, why);
}
void refuse_vocabulary(const PlanArgs& args, const char* why) {
  refuse_given({{"--vocabulary", args.vocabulary.value_or(0) != 0}}, why);
}

std::optional<AdapterSubject> adapter_subject(const LoraOptions& lora, const ModelFiles& files,
                                              const std::string& source) {
  if (!lora.wanted()) return std::nullopt;
  return AdapterSubject{trained_layout(lora, files.config(), source), open_weights_bytes(files)};
}

// Passes that are filled with documents of so many tokens together.
StepShape packed_step(int64_t tokens, const LearnerOptions& learner) {
  const int64_t rows_max = learner.pass.rows_max;
  return {.rows = (tokens + rows_max - 1) / rows_max,
          .tokens = rows_max,
          .parts = learner.parts,
          .packed = true};
}

// The model it starts from has to be there: its tokenizer and template say how long prompts are.
Subject read_rl_recipe(const Path& path, const Json& json) {
  Subject out;
  from_json(out.rl.emplace(), json, path.string());
  check_rl(*out.rl);
  const ModelFiles& files =
      *(out.files = std::make_unique<ModelFiles>(find_model(out.rl->init), Extent::kHeader));
  out.config = files.config();
  out.room = rl_room(*out.rl, load_chat_texts(files), out.config.context_tokens);
  out.adapter = adapter_subject(out.rl->lora, files, path.string());
  out.learner = rl_learner_options(*out.rl, out.room);
  const int64_t answers = out.rl->rollout.prompts_per_step * out.rl->rollout.group_size;
  out.step = packed_step(answers * out.room.context_tokens(), out.learner);
  out.beside = {
      .kind = "RL",
      .sampler = rl_generator_options(*out.rl, out.room),
      .prompt_tokens = out.room.prompt_tokens_max,
      .stale_steps = out.rl->async.stale_steps,
      .reference = out.rl->kl.beta > 0,
      .answers = answers,
      .answer_bytes = (1 + out.rl->async.stale_steps) * rl_answer_bytes(*out.rl, out.room),
      .updates = out.rl->updates_per_step};
  return out;
}

// The model and the data have to be there: the longest pair says how many rows a pass has.
Subject read_prefer_recipe(const Path& path, const Json& json) {
  PreferConfig config;
  from_json(config, json, path.string());
  check_prefer(config);
  Subject out;
  const ModelFiles& files =
      *(out.files = std::make_unique<ModelFiles>(find_model(config.init), Extent::kHeader));
  out.config = files.config();
  out.train = true;
  const PreferenceSet set = open_preferences(config, files);
  out.learner = preference_learner_options(config, set);
  out.adapter = adapter_subject(config.lora, files, path.string());
  const PreferenceCounts counts = count_preferences(config, set);
  out.step = packed_step(counts.step_tokens, out.learner);
  out.beside = {.kind = "preferences",
                .log_bytes = needs_reference(config.objective.objective)
                                 ? counts.responses * static_cast<int64_t>(sizeof(double))
                                 : 0};
  return out;
}

// The ids of a new model: those of its tokenizer, or as many as were said where that is not made
// yet.
int64_t recipe_vocabulary(const TrainConfig& config, const PlanArgs& args, const Path& path) {
  const int64_t said = args.vocabulary.value_or(0);
  if (path_exists(Path(config.tokenizer) / "tokenizer.json")) {
    const int64_t there = Tokenizer::load(config.tokenizer).vocab_size();
    if (said > 0 && said != there) {
      fail(ErrorCode::kInvalidArgument,
           "--vocabulary {}: the recipe's tokenizer ({}) is there and has {} ids; leave the option "
           "away",
           said, config.tokenizer, there);
    }
    return there;
  }
  if (said == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: its tokenizer ({}) is not there yet; say how many ids it will have (--vocabulary)",
         path.string(), config.tokenizer);
  }
  return said;
}

// A training recipe: its model, batch and optimiser.
Subject read_recipe(const Path& path, const PlanArgs& args) {
  Json json = load_yaml(path), plain = Json::object(), model;
  refuse_serving_flags(args, "the plan is of a recipe of training");
  refuse_training_flags(args, "the recipe says it; change its field instead");
  refuse_shape_flags(args, "the recipe says it; change its field instead");
  if (json.is_object() && is_prefer_recipe(json)) {
    refuse_vocabulary(args, "the model that the recipe starts from has its own");
    return read_prefer_recipe(path, json);
  }
  if (json.is_object() && is_rl_recipe(json)) {
    refuse_given({{"--train", args.train}}, "the recipe is one of reinforcement learning");
    refuse_vocabulary(args, "the model that the recipe starts from has its own");
    return read_rl_recipe(path, json);
  }
  for (const auto& [key, value] : json.as_object(path.string()))
    (key == "model" ? model : plain[key]) = value;
  TrainConfig config;
  from_json(config, plain, path.string());
  Subject out;
  out.train = true;
  if (!config.init.empty()) {
    refuse_vocabulary(args, "the model that the recipe starts from has its own");
    const ModelFiles& files =
        *(out.files = std::make_unique<ModelFiles>(find_model(config.init), Extent::kHeader));
    out.config = files.config();
    out.adapter = adapter_subject(config.lora, files, path.string());
  } else {
    set_vocabulary(model, recipe_vocabulary(config, args, path), path.string() + ": model");
    out.config = parse_hf_config(model, path.string() + ": model");
  }
  check_batch(config.batch, path.string());
  out.learner.optimiser = config.optimiser;
  out.learner.pass = {.rows_max = config.batch.rows_together() * config.batch.tokens,
                      .recompute = config.batch.recompute,
                      .mtp = config.loss.mtp_coefficient > 0};
  out.learner.train_router = config.loss.train_router;
  out.learner.arithmetic = config.train.arithmetic;
  out.learner.parts = config.batch.step_parts();
  out.step = {.rows = config.batch.rows,
              .tokens = config.batch.tokens,
              .micro_rows = config.batch.rows_together(),
              .parts = config.batch.step_parts()};
  return out;
}

LoraOptions lora_flags(const PlanArgs& args) {
  LoraOptions out{.rank = *args.lora};
  if (!args.lora_targets) return out;
  out.targets.clear();
  std::string_view rest = *args.lora_targets;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    out.targets.push_back(
        enum_from_name<LoraTarget>(std::string(rest.substr(0, end)), "--lora-targets"));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

// What --lora, --lora-targets and --type ask for.
void plan_adapter_flags(const PlanArgs& args, Subject& out) {
  if (args.type && out.files)
    fail(ErrorCode::kInvalidArgument, "--type {}: the model is there and has types of its own",
         *args.type);
  if (!args.lora) {
    if (args.lora_targets || (args.type && args.train))
      fail(ErrorCode::kInvalidArgument, "{} needs --lora RANK",
           args.type ? "--type" : "--lora-targets");
    return;
  }
  if (*args.lora < 1) fail(ErrorCode::kInvalidArgument, "--lora {}: a rank from 1 on", *args.lora);
  out.adapter = AdapterSubject{
      adapter_layout(lora_flags(args), out.config, "--lora-targets"),
      out.files ? open_weights_bytes(*out.files)
                : WeightBytes{.mapped = weight_sizes(out.config, nullptr, args.type).total()}};
}

Subject read_subject(const PlanArgs& args) {
  const Path path = find_model(args.model);
  if (is_yaml(path)) return read_recipe(path, args);
  refuse_vocabulary(args, "it is of a recipe whose tokenizer is not made yet");
  if (args.train) {
    refuse_serving_flags(args, "it is of serving, --train plans a training step");
  } else {
    refuse_training_flags(args, "it is of training (--train)");
    if (!args.ranks.given())
      refuse_shape_flags(args, "it is of --train, or of serving over --ranks");
  }
  Subject out;
  const bool bare = std::filesystem::is_directory(path) && path_exists(path / "config.json") &&
                    !holds_weights(path);
  if (bare || path.extension() == ".json") {
    const Path file = bare ? path / "config.json" : path;
    out.config = parse_hf_config(load_json(file), file.string());
  } else {
    out.files = std::make_unique<ModelFiles>(path, Extent::kHeader);
    out.config = out.files->config();
  }
  out.train = args.train;
  out.learner.optimiser.kind =
      enum_from_name<OptimiserKind>(args.optimiser.value_or("adamw"), "--optimiser");
  out.learner.pass = {
      .rows_max = pass_rows(args.rows.value_or(1), args.tokens.value_or(4096), "--rows x --tokens"),
      .recompute = args.recompute};
  out.step = {.rows = 0, .tokens = args.tokens.value_or(4096), .micro_rows = args.rows.value_or(1)};
  plan_adapter_flags(args, out);
  return out;
}

std::string bytes_text(int64_t bytes) {
  return fmt::format("{:>12}  {}", format_bytes(static_cast<double>(bytes)), bytes);
}
void print_row(const char* what, int64_t bytes) {
  std::printf("  %-34s %s\n", what, bytes_text(bytes).c_str());
}

int64_t sliding_layers(const ModelConfig& c) {
  int64_t count = 0;
  for (const LayerFacts& layer : c.layers) count += layer.window_tokens > 0 ? 1 : 0;
  return count;
}

void print_verdict(int64_t needed, const MachineMemory& memory) {
  std::printf("machine\n");
  print_row("memory", memory.total_bytes);
  print_row("free now", memory.available_bytes);
  const char* verdict = needed <= memory.available_bytes ? "fits"
                        : needed <= memory.total_bytes
                            ? "fits an idle machine, not this moment's free memory"
                            : "does not fit";
  std::printf("  %-34s %s\n", "this run", verdict);
}

// What every plan says in JSON of the whole and of the machine.
void add_verdict(Json& out, int64_t total_bytes, const MachineMemory& memory) {
  out["total_bytes"] = total_bytes;
  out["memory_bytes"] = memory.total_bytes;
  out["available_bytes"] = memory.available_bytes;
  out["fits"] = total_bytes <= memory.available_bytes;
}

void add_learner(Json& out, const TrainPlan& plan) {
  if (plan.base_bytes + plan.base_copied_bytes > 0)
    out["base_bytes"] = plan.base_bytes + plan.base_copied_bytes;
  out["weight_bytes"] = plan.weight_bytes;
  out["copy_bytes"] = plan.copy_bytes;
  out["gradient_bytes"] = plan.gradient_bytes;
  out["optimiser_bytes"] = plan.moment_bytes + plan.scratch_bytes;
  out["activation_bytes"] = plan.activation_bytes;
}
void print_learner(const TrainPlan& plan) {
  const bool adapter = plan.base_bytes + plan.base_copied_bytes > 0;
  if (adapter) print_row("base, as stored (mapped)", plan.base_bytes);
  if (plan.base_copied_bytes > 0) print_row("base, copied", plan.base_copied_bytes);
  print_row(adapter ? "adapter, f32" : "weights, f32", plan.weight_bytes);
  if (plan.copy_bytes > 0) print_row("their copies in BF16", plan.copy_bytes);
  print_row("gradients, f32", plan.gradient_bytes);
  print_row("optimiser", plan.moment_bytes + plan.scratch_bytes);
  print_row("activations of the update", plan.activation_bytes);
}

int show_rl(const Subject& subject, const MachineMemory& memory, bool as_json) {
  const int64_t threads = ThreadPool::default_thread_count();
  const RlPlan plan =
      plan_rl(subject.config, *subject.rl, subject.room, threads, subject.adapter_or_null());
  const LearnerOptions learner = rl_learner_options(*subject.rl, subject.room);
  const GeneratorOptions engine = rl_generator_options(*subject.rl, subject.room);
  if (as_json) {
    Json out = Json::object();
    out["kind"] = "rl";
    out["device"] = "cpu";
    out["rows"] = learner.pass.rows_max;
    out["sequences"] = engine.sequences_max;
    out["prompt_tokens"] = subject.room.prompt_tokens_max;
    out["context_tokens"] = engine.context_tokens_max;
    add_learner(out, plan.learner);
    out["kv_bytes"] = plan.kv_bytes;
    out["generator_bytes"] = plan.generator_bytes;
    out["answer_bytes"] = plan.answer_bytes;
    if (plan.sampler_bytes > 0) out["sampler_bytes"] = plan.sampler_bytes;
    if (plan.reference_bytes > 0) out["reference_bytes"] = plan.reference_bytes;
    add_verdict(out, plan.total_bytes(), memory);
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf(
      "reinforcement learning on one device (cpu): %lld answers together of up to %lld tokens "
      "(prompt %lld), %lld rows a pass, %s\n",
      static_cast<long long>(engine.sequences_max),
      static_cast<long long>(engine.context_tokens_max),
      static_cast<long long>(subject.room.prompt_tokens_max),
      static_cast<long long>(learner.pass.rows_max), name_of(subject.rl->optimiser.kind));
  print_learner(plan.learner);
  print_row("keys and values of the answers, f32", plan.kv_bytes);
  print_row("activations of sampling", plan.generator_bytes);
  print_row("a step's answers, log-probabilities", plan.answer_bytes);
  if (plan.sampler_bytes > 0) print_row("copies for the sampler (async)", plan.sampler_bytes);
  if (plan.reference_bytes > 0) print_row("reference model (kl)", plan.reference_bytes);
  print_row("together", plan.total_bytes());
  print_verdict(plan.total_bytes(), memory);
  return 0;
}

int show_training(const Subject& subject, const MachineMemory& memory, bool as_json) {
  const TrainPlan plan =
      plan_training(subject.config, subject.learner, ThreadPool::default_thread_count(),
                    subject.adapter_or_null());
  const auto rows = most_rows(subject.config, subject.learner, ThreadPool::default_thread_count(),
                              memory.available_bytes, subject.adapter_or_null());
  if (as_json) {
    Json out = Json::object();
    out["kind"] = "training";
    out["device"] = "cpu";
    add_learner(out, plan);
    add_verdict(out, plan.total_bytes(), memory);
    out["most_rows"] = rows ? Json(*rows) : Json();
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("training on one device (cpu): %lld rows a pass, %s%s\n",
              static_cast<long long>(subject.learner.pass.rows_max),
              name_of(subject.learner.optimiser.kind),
              subject.learner.pass.recompute ? ", activations computed again" : "");
  print_learner(plan);
  print_row("together", plan.total_bytes());
  print_verdict(plan.total_bytes(), memory);
  std::printf("  %-34s %s\n", "most rows a pass in free memory",
              rows ? fmt::format("{}", *rows).c_str() : "none: the weights alone do not fit");
  return 0;
}

// Of what a file stores, the bytes that multiply in 8-bit integers unless told to be exact.
int64_t integer8_bytes(const ModelFiles* files) {
  int64_t sum = 0;
  if (files == nullptr) return sum;
  for (const TensorInfo& info : files->source().tensors())
    if (arithmetic_supports(Arithmetic::kInteger8, info.dtype)) sum += info.bytes();
  return sum;
}

GeneratorOptions serving_options(const ModelConfig& config, int64_t integer8_bytes,
                                 const PlanArgs& args) {
  GeneratorOptions options;
  options.sequences_max = args.sequences.value_or(1);
  options.context_tokens_max = args.context.value_or(config.context_tokens);
  if (options.context_tokens_max > config.context_tokens) {
    log_warn("--context {}: the model's own limit of {} tokens is taken ({})",
             options.context_tokens_max, config.context_tokens, args.model);
    options.context_tokens_max = config.context_tokens;
  }
  args.draft.settings(config, args.model, options.sequences_max, options.batch_rows_max)
      .give(options);
  options.batch_rows_max = std::max(options.batch_rows_max,
                                    pass_rows(options.sequences_max, 1 + options.draft_tokens_max,
                                              "--sequences x (1 + --draft)"));
  options.kv_dtype =
      args.kv_type.wanted(integer8_bytes > 0 ? Arithmetic::kInteger8 : Arithmetic::kExact);
  options.prefix.keep = args.prefixes.value_or(0) > 0;
  options.prefix.bytes_max = prefix_bytes_for(config, options, args.prefixes.value_or(0));
  return options;
}

// Two reasons end a context: memory, or the model's own bound.
std::string context_text(const ModelConfig& c, std::optional<int64_t> context) {
  if (!context) return "none: the weights alone do not fit";
  return fmt::format("{} tokens: {}", *context,
                     *context == c.context_tokens ? "the model's own limit; memory holds it"
                                                  : "more do not fit into free memory");
}

void print_serving(const ModelConfig& c, const ServePlan& plan, const GeneratorOptions& options,
                   const ModelFiles* files, const MachineMemory& memory,
                   std::optional<int64_t> context) {
  std::printf(
      "serving on one device (cpu): %lld sequence%s of up to %lld tokens, keys and values in %s\n",
      static_cast<long long>(options.sequences_max), options.sequences_max == 1 ? "" : "s",
      static_cast<long long>(options.context_tokens_max),
      std::string(dtype_info(options.kv_dtype).name).c_str());
  print_row(files == nullptr ? "weights, 16 bits" : "weights, as stored", plan.weight_bytes);
  if (files != nullptr) print_row("  that multiply in integer8", integer8_bytes(files));
  print_row("  run from the mapped file", plan.mapped_bytes);
  print_row("  copied", plan.copied_bytes);
  const int64_t mtp_pages = c.mtp_layer.window_tokens > 0 ? 0 : plan.mtp_kv_bytes;
  print_row(fmt::format("KV of {} sliding layers", sliding_layers(c)).c_str(),
            plan.ring_bytes - (plan.mtp_kv_bytes - mtp_pages));
  print_row(fmt::format("KV of {} global layers", c.layer_count() - sliding_layers(c)).c_str(),
            plan.page_bytes - mtp_pages);
  if (plan.mtp_kv_bytes > 0) print_row("KV of the MTP layer", plan.mtp_kv_bytes);
  if (options.prefix.keep) print_row("  of these, for kept prefixes", plan.prefix_bytes);
  print_row("  a token more of one sequence", plan.token_bytes);
  print_row("page tables", plan.table_bytes);
  print_row("activations", plan.activation_bytes - plan.draft_bytes);
  if (options.draft_tokens_max > 0) print_row("drafting", plan.draft_bytes);
  print_row("together", plan.total_bytes());
  print_verdict(plan.total_bytes(), memory);
  std::printf("  %-34s %s\n", "largest context", context_text(c, context).c_str());
}

int show_serving(const Subject& subject, const PlanArgs& args, const MachineMemory& memory) {
  const GeneratorOptions options =
      serving_options(subject.config, integer8_bytes(subject.files.get()), args);
  const ServePlan plan = plan_serving(subject.config, subject.files.get(), options);
  const auto context =
      largest_context(subject.config, subject.files.get(), options, memory.available_bytes);
  if (!args.json) {
    print_serving(subject.config, plan, options, subject.files.get(), memory, context);
    return 0;
  }
  Json out = Json::object();
  out["kind"] = "serving";
  out["device"] = "cpu";
  out["sequences"] = options.sequences_max;
  out["context_tokens"] = options.context_tokens_max;
  out["kv_type"] = kv_type_name(options.kv_dtype);
  out["weight_bytes"] = plan.weight_bytes;
  out["integer8_bytes"] = integer8_bytes(subject.files.get());
  out["mapped_bytes"] = plan.mapped_bytes;
  out["copied_bytes"] = plan.copied_bytes;
  out["kv_sliding_bytes"] = plan.ring_bytes;
  out["kv_global_bytes"] = plan.page_bytes;
  out["draft_tokens"] = options.draft_tokens_max;
  out["kv_mtp_bytes"] = plan.mtp_kv_bytes;
  out["draft_bytes"] = plan.draft_bytes;
  out["kv_prefix_bytes"] = plan.prefix_bytes;
  out["kv_token_bytes"] = plan.token_bytes;
  out["table_bytes"] = plan.table_bytes;
  out["activation_bytes"] = plan.activation_bytes;
  out["allocated_bytes"] = plan.allocated_bytes();
  add_verdict(out, plan.total_bytes(), memory);
  out["largest_context_tokens"] = context ? Json(*context) : Json();
  out["largest_context_reason"] =
      context && *context == subject.config.context_tokens ? "model" : "memory";
  std::printf("%s\n", out.dump(2).c_str());
  return 0;
}

void check_range(const char* name, std::optional<int64_t> value, int64_t least, int64_t most) {
  if (value && (*value < least || *value > most))
    fail(ErrorCode::kInvalidArgument, "{} is {}, should be from {} to {}", name, *value, least,
         most);
}

void check_args(const PlanArgs& args) {
  constexpr int64_t kMost = int64_t{1} << 32;
  check_range("--sequences", args.sequences, 1, kMost);
  check_range("--prefixes", args.prefixes, 0, 1 << 20);
  args.draft.check();
  check_range("--rows", args.rows, 1, kMost);
  check_range("--tokens", args.tokens, 1, kMost);
  check_range("--context", args.context, 1, kMost);
  check_range("--memory", args.memory_gib, 1, kMost);
  check_range("--vocabulary", args.vocabulary, 0, INT32_MAX);
  if (args.optimiser && *args.optimiser != "adamw" && *args.optimiser != "muon")
    fail(ErrorCode::kInvalidArgument, "--optimiser '{}': adamw or muon", *args.optimiser);
}

int show_serving_over_ranks(const Subject& subject, const PlanArgs& args,
                            const MachineMemory& memory) {
  ServeSubject served{.config = subject.config,
                      .files = subject.files.get(),
                      .sizes = weight_sizes(subject.config, subject.files.get(), args.type)};
  served.options = serving_options(subject.config, served.sizes.integer8, args);
  const int64_t context = served.options.context_tokens_max;
  served.prompt_tokens = args.tokens.value_or(std::min<int64_t>(1024, context));
  check_range("--tokens", served.prompt_tokens, 1, context);
  return args.ranks.show_serving(served, args.model, memory.total_bytes, args.json);
}

int show_ranks(const Subject& subject, const PlanArgs& args, const MachineMemory& memory) {
  if (!subject.train && !subject.rl) return show_serving_over_ranks(subject, args, memory);
  BesideLearning beside = subject.beside;
  beside.adapter = subject.adapter_or_null();
  beside.files = subject.files.get();
  LearnerOptions learner = subject.learner;
  if (subject.adapter) learner.pass.adapter_rank = largest_rank(subject.adapter->layout);
  return args.ranks.show_training(subject.config, learner, subject.step, beside, memory.total_bytes,
                                  args.json);
}

int plan(const PlanArgs& args) {
  check_args(args);
  args.ranks.check();
  const Subject subject = read_subject(args);
  MachineMemory memory = machine_memory();
  if (args.memory_gib) memory.total_bytes = memory.available_bytes = *args.memory_gib << 30;
  if (args.ranks.given()) return show_ranks(subject, args, memory);
  if (subject.rl) return show_rl(subject, memory, args.json);
  return subject.train ? show_training(subject, memory, args.json)
                       : show_serving(subject, args, memory);
}

}  // namespace

std::function<int()> declare_plan(Args& args) {
  auto options = std::make_shared<PlanArgs>();
  args.positional("MODEL", options->model,
                  "a model (folder, GGUF file, repo id), a config.json, or a recipe of training, "
                  "RL or preferences (.yaml)");
  args.option("--context", options->context, "tokens of one sequence (default: the model's own)");
  args.option("--sequences", options->sequences, "sequences served together (default: 1)");
  options->draft.declare(args);
  args.option("--prefixes", options->prefixes,
              "snapshots of prompts and answers kept beside what runs (default: 0)");
  options->kv_type.declare(args);
  args.flag("--train", options->train, "plan a training step instead of serving");
  args.option("--rows", options->rows, "training: rows of one pass (default: 1)");
  args.option("--tokens", options->tokens,
              "training: tokens of a row (default: 4096); serving over ranks: of a prompt (1024)");
  args.option("--optimiser", options->optimiser, "training: adamw (default) or muon");
  args.flag("--recompute", options->recompute, "training: keep only layer inputs");
  args.option("--lora", options->lora,
              "training: of an adapter of this rank; the model stays as it is stored");
  args.option("--lora-targets", options->lora_targets,
              "of attention (default), dense, shared, experts, head; several with commas");
  args.option("--type", options->type,
              "with a config.json and --lora or --ranks: the model as a quantised file of this "
              "type (Q8_0, Q4_K_M, ...)");
  args.option("--vocabulary", options->vocabulary,
              "a recipe whose tokenizer is not made yet: its number of ids");
  args.option("--memory", options->memory_gib, "GiB of another machine to plan for");
  options->ranks.declare(args);
  args.flag("--json", options->json, "one JSON object");
  args.examples(
      "dure plan model.gguf --context 65536 --sequences 4\ndure plan config.json --memory "
      "512\ndure plan recipes/nano/pretrain.yaml --vocabulary 4096\ndure plan "
      "recipes/nano/rl.yaml\ndure plan config.json --type Q4_K --ranks expert=4\ndure plan "
      "config.json --train --ranks data=8,expert=16,pipeline=4 "
      "--memory 512");
  return [options] { return plan(*options); };
}

}  // namespace dure
