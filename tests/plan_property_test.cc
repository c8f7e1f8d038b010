// `dure plan` against what is really allocated: the process's data segment grows by what was
// planned, within 1 % (5 % under a sanitizer, whose own bookkeeping lies in the same segment).
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/thread_pool.h"
#include "cli/convert_model.h"
#include "cli/memory_plan.h"
#include "cli/rank_plan.h"
#include "comm/thread_transport.h"
#include "formats/config_fixture.h"
#include "golden.h"
#include "model/load.h"
#include "quantise/quantise_model.h"
#include "quantise/type_choice.h"
#include "rl/rl_stage.h"
#include "tensor/cpu_stream.h"
#include "text/bpe_trainer.h"
#include "text/chat_template.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

// Bytes of private writable memory, reserved ones included (anonymous maps and heap).
int64_t data_bytes() {
  std::ifstream in("/proc/self/statm");
  int64_t field = 0;
  for (int i = 0; i < 6; ++i) in >> field;
  return field * ::sysconf(_SC_PAGESIZE);
}

// Large enough that page rounding and small objects stay below 1 %.
ModelConfig medium() {
  ModelConfig c;
  c.vocab_size = 4000;
  c.hidden_size = 256;
  c.head_count = 8;
  c.kv_head_count = 2;
  c.head_width = 32;
  set_layers(
      c, 8, 128,
      {.dense_width = 700,
       .experts = {.count = 16, .per_token = 4, .width = 96, .shared_count = 1, .scale = 2.5}});
  c.mtp_layer_count = 1;
  c.context_tokens = 4096;
  return c;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kTolerance = 0.05;
#else
constexpr double kTolerance = 0.01;
#endif

void expect_as_planned(const char* what, int64_t planned, int64_t real) {
  std::printf("plan: %-34s planned %12lld, really %12lld (%+.2f %%)\n", what,
              static_cast<long long>(planned), static_cast<long long>(real),
              100.0 * static_cast<double>(real - planned) / static_cast<double>(planned));
  EXPECT_NEAR(static_cast<double>(real), static_cast<double>(planned),
              kTolerance * static_cast<double>(planned))
      << what;
}

TEST(Plan, Training) {
  CpuStream stream(1);
  for (const OptimiserKind kind : {OptimiserKind::kAdamW, OptimiserKind::kMuon}) {
    for (const bool recompute : {false, true}) {
      LearnerOptions options{.optimiser = {}, .pass = {.rows_max = 2048, .recompute = recompute}};
      options.optimiser.kind = kind;
      const int64_t before = data_bytes();
      const Learner learner(medium(), options, stream);
      expect_as_planned(
          fmt::format("training, {}{}", name_of(kind), recompute ? ", recomputed" : "").c_str(),
          plan_training(medium(), options, 1).total_bytes(), data_bytes() - before);
    }
  }
}

TEST(Plan, TrainingInBf16CountsTheCopies) {
  CpuStream stream(1);
  LearnerOptions options{.optimiser = {.kind = OptimiserKind::kAdamW}, .pass = {.rows_max = 2048}};
  const int64_t exact = plan_training(medium(), options, 1).total_bytes();
  options.arithmetic = Arithmetic::kBf16;
  const TrainPlan plan = plan_training(medium(), options, 1);
  EXPECT_EQ(plan.total_bytes(), exact + plan.copy_bytes);
  EXPECT_GT(plan.copy_bytes, plan.weight_bytes * 4 / 10);  // all but the table of embeddings
  EXPECT_LT(plan.copy_bytes, plan.weight_bytes / 2);
  const int64_t before = data_bytes();
  const Learner learner(medium(), options, stream);
  expect_as_planned("training in bf16", plan.total_bytes(), data_bytes() - before);
}

// What the ranks of a table really take: threads of this process that wait for each other between
// the two looks.
int64_t taken_by_ranks(const LearnerOptions& options, const MeshShape& shape) {
  int64_t before = 0, after = 0;
  run_ranks(static_cast<int>(shape.count()), [&](Group& world) {
    CpuStream stream(1);
    Mesh mesh(world, shape);
    world.barrier();
    if (world.is_first()) before = data_bytes();
    world.barrier();
    const Learner learner(medium(), options, stream, mesh);
    world.barrier();
    if (world.is_first()) after = data_bytes();
    world.barrier();
  });
  return after - before;
}

// Every rank has figures of its own: together they take their sum.
void expect_ranks_as_planned(OptimiserKind kind, const MeshShape& shape) {
  LearnerOptions options{.optimiser = {.kind = kind}, .pass = {.rows_max = 512}, .parts = 4};
  const StepShape step{.rows = 8, .tokens = 512, .micro_rows = 1, .parts = 4};
  const TablePlan plan =
      plan_ranks(medium(), options, shape, step, {.flops = 1e9, .memory_rate = 1e9}, "test");
  if (shape.pipeline > 1) options.stage_layers = cut_layers(medium(), shape.pipeline, true);
  int64_t planned = 0;
  for (const RankPlan& rank : plan.by_rank) planned += rank.memory.total() - rank.memory.buffers;
  expect_as_planned(fmt::format("{}, {}", table_text(shape), name_of(kind)).c_str(), planned,
                    taken_by_ranks(options, shape));
}

TEST(Plan, TrainingOverRanks) {
  for (const MeshShape& shape : {MeshShape{.data = 2},
                                 {.data = 4},
                                 {.expert = 2},
                                 {.data = 2, .expert = 2},
                                 {.pipeline = 2},
                                 {.data = 2, .pipeline = 2}})
    expect_ranks_as_planned(OptimiserKind::kAdamW, shape);
  expect_ranks_as_planned(OptimiserKind::kMuon, {.data = 4});
}

// A folder in BF16: norms are widened when it is opened, experts stay where they lie.
Path write_model(const Path& folder, Stream& stream) {
  Parameters parameters(medium());
  parameters.initialise(1, stream);
  write_hf_folder(folder, medium(), {}, *provide(parameters), {.dtype = DType::kBF16});
  return folder;
}

TEST(Plan, Serving) {
  const TemporaryFolder folder;
  CpuStream stream(1);
  const auto files = std::make_shared<ModelFiles>(write_model(folder.path() / "m", stream));
  const ModelWeights weights = open_weights(files);
  for (const auto& [kv, drafts] :
       {std::pair(DType::kF32, 0), {DType::kF16, 0}, {DType::kBF16, 4}, {DType::kQ8_0, 0}}) {
    GeneratorOptions options{
        .sequences_max = 8, .context_tokens_max = 4096, .kv_dtype = kv, .draft_tokens_max = drafts};
    options.prefix.keep = drafts > 0;
    options.prefix.bytes_max = prefix_bytes_for(medium(), options, 5);
    const ServePlan plan = plan_serving(medium(), files.get(), options);
    EXPECT_EQ(plan.prefix_bytes, drafts > 0 ? options.prefix.bytes_max : 0);
    EXPECT_EQ(plan.copied_bytes, weights.owned_bytes());
    EXPECT_LT(plan.copied_bytes, files->stored_bytes() / 100);
    EXPECT_EQ(plan.weight_bytes, files->stored_bytes());
    EXPECT_LT(plan.total_bytes(), plan.weight_bytes + plan.allocated_bytes());
    const int64_t before = data_bytes();
    Generator generator(weights, options, stream);
    EXPECT_EQ(plan.mtp_kv_bytes > 0 && plan.draft_bytes > 0, drafts > 0);
    expect_as_planned(drafts > 0 ? "serving with drafts" : "serving",
                      plan.allocated_bytes() - plan.copied_bytes, data_bytes() - before);
  }
}

// A GGUF file holds what the kernels read: opening copies nothing, and a run, short prompts and
// long, takes what was planned and no second copy of the weights.
TEST(Plan, GgufRunsFromTheMappedFile) {
  const TemporaryFolder folder;
  CpuStream stream(1);
  convert_to_gguf(ModelFiles(write_model(folder.path() / "m", stream)), folder.path() / "m.gguf",
                  {});
  const auto files = std::make_shared<ModelFiles>(folder.path() / "m.gguf");
  const GeneratorOptions options{
      .sequences_max = 8, .context_tokens_max = 4096, .draft_tokens_max = 2};
  const ServePlan plan = plan_serving(medium(), files.get(), options);
  EXPECT_EQ(plan.copied_bytes, 0);
  EXPECT_EQ(plan.mapped_bytes, files->stored_bytes());
  const int64_t before = data_bytes();
  const ModelWeights weights = open_weights(files);
  EXPECT_EQ(weights.owned_bytes(), 0);
  Generator generator(weights, options, stream);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 8; ++i) {
    requests.push_back({.prompt = std::vector<int32_t>(static_cast<size_t>(1 + 40 * i), 7 + i),
                        .new_tokens_max = 4});
  }
  generator.run(std::move(requests));
  expect_as_planned("GGUF, after a run", plan.allocated_bytes(), data_bytes() - before);
}

// Quantised ones, of whatever types the golden folders hold.
TEST(Plan, QuantisedGgufCopiesNothing) {
  CpuStream stream(1);
  int opened = 0;
  for (const Path& root : golden::roots("gguf")) {
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      if (entry.path().extension() != ".gguf") continue;
      if (entry.path().stem().string().find("-of-") != std::string::npos &&
          entry.path().stem().string().find("-00001-of-") == std::string::npos)
        continue;  // A later part of a split file.
      const auto files = std::make_shared<ModelFiles>(entry.path());
      const ModelWeights weights = open_weights(files);
      EXPECT_EQ(weights.owned_bytes(), 0) << entry.path();
      EXPECT_EQ(open_weights_bytes(*files).copied, 0) << entry.path();
      EXPECT_EQ(open_weights_bytes(*files).mapped, files->stored_bytes()) << entry.path();
      ++opened;
    }
  }
  std::printf("plan: %d GGUF files of golden sets\n", opened);
}

// A model with texts, whose learner leaves router and MTP layer alone.
Path write_talking_model(const Path& folder, Stream& stream) {
  BpeTrainer trainer({.vocab_size = 400});
  for (int i = 0; i < 300; ++i) trainer.add("sort: 3 1 2 = 1 2 3, " + std::to_string(i));
  const Tokenizer tokenizer = trainer.train();
  ModelTexts texts;
  texts.tokenizer_json = tokenizer.to_json();
  texts.tokenizer_config = tokenizer.to_config_json().dump();
  texts.chat_template = std::string(released_chat_template(ChatFormat::kK1));
  ModelConfig config = medium();
  config.eos_tokens = {*tokenizer.eos_id()};
  Parameters parameters(config);
  parameters.initialise(1, stream);
  write_hf_folder(folder, config, texts, *provide(parameters), {.dtype = DType::kBF16});
  return folder;
}

TEST(Plan, ReinforcementLearning) {
  const TemporaryFolder folder;
  CpuStream stream(1);
  RlConfig run;
  run.init = write_talking_model(folder.path() / "m", stream).string();
  run.output = (folder.path() / "run").string();
  run.steps = 3;
  make_folders(run.output);
  for (const auto& [kind, sequences] :
       {std::pair(OptimiserKind::kAdamW, 8), {OptimiserKind::kMuon, 64}}) {
    run.optimiser.kind = kind;
    run.rollout.sequences_max = sequences;
    RlPlan plan;
    {
      const ModelFiles files(run.init);
      plan = plan_rl(files.config(), run, rl_room(run, load_chat_texts(files), 4096),
                     ThreadPool::default_thread_count());
    }
    RlStage stage(run);
    const int64_t before = data_bytes();
    stage.open(nullptr);
    expect_as_planned(fmt::format("RL, {}, {} together", name_of(kind), sequences).c_str(),
                      plan.total_bytes() - plan.answer_bytes, data_bytes() - before);
    EXPECT_GT(plan.kv_bytes, 0);
    EXPECT_LT(plan.answer_bytes, plan.total_bytes() / 20);
  }
}

// Every rank has an engine of its own, and of a model whose experts lie on ranks a copy of those of
// others to sample from; the reference lies over the ranks as the learner does.
TEST(Plan, ReinforcementLearningOverRanks) {
  const TemporaryFolder folder;
  CpuStream stream(1);
  RlConfig run;
  run.init = write_talking_model(folder.path() / "m", stream).string();
  run.output = (folder.path() / "run").string();
  run.steps = 3;
  run.rollout.sequences_max = 8;
  run.parts = 2;
  run.kl.beta = 0.1;
  make_folders(run.output);
  for (const MeshShape& shape : {MeshShape{.data = 2}, {.expert = 2}, {.pipeline = 2}}) {
    run.ranks = {.data = shape.data, .expert = shape.expert, .pipeline = shape.pipeline};
    const ModelFiles files(run.init);
    const PromptRoom room = rl_room(run, load_chat_texts(files), 4096);
    const LearnerOptions learner = rl_learner_options(run, room);
    const StepShape step{.rows = 4, .tokens = learner.pass.rows_max, .parts = 2, .packed = true};
    const TablePlan plan =
        plan_ranks(files.config(), learner, shape, step, {.flops = 1e9, .memory_rate = 1e9}, "test",
                   {.sampler = rl_generator_options(run, room),
                    .prompt_tokens = room.prompt_tokens_max,
                    .reference = true,
                    .answers = 64});
    int64_t planned = 0, before = 0, after = 0;
    for (const RankPlan& rank : plan.by_rank) {
      planned += rank.memory.total() - rank.memory.buffers;
      EXPECT_EQ(rank.memory.gathered > 0, GatheredWeights::needed(shape));
      EXPECT_EQ(rank.gathered_sent > 0, GatheredWeights::needed(shape));
      EXPECT_GT(rank.memory.kv, 0);
      EXPECT_EQ(rank.memory.reference, rank.memory.weights);
    }
    EXPECT_GT(plan.time.sampling, 0);
    run_ranks(2, [&](Group& world) {
      Mesh mesh(world, shape);
      RlStage stage(run, mesh);
      world.barrier();
      if (world.is_first()) before = data_bytes();
      world.barrier();
      stage.open(nullptr);
      world.barrier();
      if (world.is_first()) after = data_bytes();
      world.barrier();
    });
    expect_as_planned(fmt::format("RL, {}", table_text(shape)).c_str(), planned, after - before);
  }
}

// Sampling beside learning: the parameters once more for each step that answers may be stale.
TEST(Plan, SamplingBesideLearning) {
  const TemporaryFolder folder;
  CpuStream stream(1);
  RlConfig run;
  run.init = write_talking_model(folder.path() / "m", stream).string();
  run.output = (folder.path() / "run").string();
  run.steps = 20;
  run.rollout.sequences_max = 16;
  make_folders(run.output);
  for (const int64_t stale : {1, 3}) {
    run.async.stale_steps = stale;
    RlPlan plan;
    {
      const ModelFiles files(run.init);
      plan = plan_rl(files.config(), run, rl_room(run, load_chat_texts(files), 4096), 1);
    }
    EXPECT_EQ(plan.sampler_bytes, stale * plan.learner.weight_bytes);
    RlStage stage(run);
    const int64_t before = data_bytes();
    stage.open(nullptr);
    expect_as_planned(fmt::format("RL, {} steps stale", stale).c_str(),
                      plan.total_bytes() - plan.answer_bytes, data_bytes() - before);
  }
}

// An adapter on a quantised base: the base is mapped, and a step adds no copy of it. With KL in RL
// the reference is that base, and takes nothing.
TEST(Plan, AnAdapterOnAQuantisedBase) {
  const TemporaryFolder folder;
  CpuStream stream(1);
  const Path base = folder.path() / "q4.gguf";
  {
    const ModelFiles plain(write_talking_model(folder.path() / "m", stream));
    quantise_model({.files = plain,
                    .choices = choose_types(plain.config(), {.mixture = find_mixture("Q4_K_M")}),
                    .out = base,
                    .metadata = gguf_metadata_of(plain)},
                   stream, [](int64_t) {});
  }
  const LoraOptions lora{.rank = 16, .targets = {LoraTarget::kAttention, LoraTarget::kExperts}};
  const auto files = std::make_shared<ModelFiles>(base);
  const AdapterSubject subject{adapter_layout(lora, files->config(), "test"),
                               open_weights_bytes(*files)};
  EXPECT_EQ(subject.base.copied, 0);
  EXPECT_EQ(subject.base.mapped, files->stored_bytes());
  const LearnerOptions options{.pass = {.rows_max = 2048, .mtp = false}};
  const std::vector<int32_t> ids(2048, 7);
  const std::vector<int64_t> lengths(8, 256);
  const int64_t before = data_bytes();
  {
    Learner learner(start_adapter(lora, files, Arithmetic::kExact, "", "test"), options, stream);
    learner.adapter()->initialise(1, stream);
    for (int step = 0; step < 2; ++step) {
      learner.accumulate({.ids = ids, .targets = ids, .document_lengths = lengths}, {});
      learner.update(1e-3, "test");
    }
    const TrainPlan plan = plan_training(files->config(), options, 1, &subject);
    expect_as_planned("adapter on Q4_K_M, after two steps", plan.total_bytes() - plan.base_bytes,
                      data_bytes() - before);
  }
  RlConfig run;
  run.init = base.string();
  run.output = (folder.path() / "run").string();
  run.steps = 3;
  run.lora = lora;
  run.kl.beta = 0.1;
  make_folders(run.output);
  const RlPlan plan =
      plan_rl(files->config(), run, rl_room(run, load_chat_texts(*files), 4096), 1, &subject);
  EXPECT_EQ(plan.reference_bytes, 0);
  RlStage stage(run);
  const int64_t stage_before = data_bytes();
  stage.open(nullptr);
  expect_as_planned("RL of an adapter with KL",
                    plan.total_bytes() - plan.answer_bytes - plan.learner.base_bytes,
                    data_bytes() - stage_before);
}

TEST(Plan, MostRows) {
  const LearnerOptions options{.optimiser = {}, .pass = {.rows_max = 500}};
  const int64_t memory = plan_training(medium(), options, 1).total_bytes();
  const auto rows = most_rows(medium(), options, 1, memory);
  ASSERT_TRUE(rows.has_value());
  LearnerOptions more = options;
  more.pass.rows_max = *rows + 1;
  EXPECT_GE(*rows, 500);
  EXPECT_GT(plan_training(medium(), more, 1).total_bytes(), memory);
  EXPECT_FALSE(most_rows(medium(), options, 1, 1000).has_value());
}

TEST(Plan, LargestContext) {
  GeneratorOptions options{.sequences_max = 2, .kv_dtype = DType::kBF16};
  options.context_tokens_max = 1000;
  const int64_t memory = plan_serving(medium(), nullptr, options).total_bytes();
  const auto context = largest_context(medium(), nullptr, options, memory);
  ASSERT_TRUE(context.has_value());
  options.context_tokens_max = *context;
  EXPECT_GE(*context, 1000);
  EXPECT_LE(plan_serving(medium(), nullptr, options).total_bytes(), memory);
  options.context_tokens_max = *context + 1;
  EXPECT_GT(plan_serving(medium(), nullptr, options).total_bytes(), memory);
  EXPECT_FALSE(largest_context(medium(), nullptr, options, 1000).has_value());
}

}  // namespace
}  // namespace dure
