// Whole RL runs of a tiny model: sampler equals trainer bit for bit, resuming after kills, threads,
// every objective by name, what is frozen stays as it was.
#include <cmath>
#include <cstring>
#include <set>

#include "base/testing.h"
#include "cli/convert_model.h"
#include "comm/thread_transport.h"
#include "model/load.h"
#include "program.h"
#include "rl/rl_step.h"
#include "rl/rl_trainer.h"
#include "tensor/cpu_stream.h"
#include "text/tokenizer.h"
#include "tiny_rl.h"
#include "train/gathered_weights.h"
#include "train/rank_traffic.h"
#include "train/stage_cut.h"

namespace dure {
namespace {

TEST_F(RlTest, SamplerEqualsTrainerBitForBitAndTheFrozenStays) {
  run_rl(rl("a"));
  for (const double mismatch : column_of("a", "sampler_mismatch_max")) EXPECT_EQ(mismatch, 0.0);
  double learning_steps = 0;
  for (const double share : column_of("a", "frac_reward_zero_std"))
    learning_steps += share < 1 ? 1 : 0;
  EXPECT_GE(learning_steps, 3)
      << "the tiny model is too bad, or too good, for this test to mean much";
  const ModelFiles before(at("sft/model")), after(at("a/model"));
  bool moved = false;
  for (const ImpliedTensor& tensor : before.tensors()) {
    const ConstTensorView a = before.tensor(tensor.id), b = after.tensor(tensor.id);
    const bool same = std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes())) == 0;
    const bool frozen = tensor.id.role == TensorRole::kRouter ||
                        tensor.id.role == TensorRole::kRouterBias ||
                        tensor.name.starts_with("mtp.");
    EXPECT_TRUE(same || !frozen) << tensor.name;
    moved = moved || !same;
  }
  EXPECT_TRUE(moved);
}

TEST_F(RlTest, InBf16TheSamplerReadsTheTrainersCopies) {
  RlConfig c = rl("bf16");
  c.train.arithmetic = Arithmetic::kBf16;
  c.updates_per_step = 1;
  run_rl(c);
  for (const double mismatch : column_of("bf16", "sampler_mismatch_max")) EXPECT_EQ(mismatch, 0.0);
  run_rl(rl("exact"));
  EXPECT_FALSE(weights_of("bf16") == weights_of("exact"));
  c.steps += 1;
  c.train.arithmetic = Arithmetic::kExact;
  try {
    run_rl(c);
    FAIL() << "another arithmetic";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("train.arithmetic"), std::string::npos);
  }
}

TEST_F(RlTest, KilledAnywhereItEndsInTheSameBits) {
  run_rl(rl("whole"));
  Rng rng(static_cast<uint64_t>(::getpid()));
  for (int kills = 0; kills < 3; ++kills) {
    const size_t after = steps_written("cut") + static_cast<size_t>(rng.between(1, 3));
    RlConfig c = rl("cut");
    c.checkpoint.every_steps = rng.between(1, 2);
    do_apart([&] { run_rl(c); }, nullptr,
             [&](pid_t child) {
               while (steps_written("cut") < after && ::waitpid(child, nullptr, WNOHANG) == 0)
                 ::usleep(2000);
               ::usleep(static_cast<useconds_t>(rng.between(0, 20000)));
               ::kill(child, SIGKILL);
             });
  }
  EXPECT_EQ(do_apart([&] { run_rl(rl("cut")); }), 0);
  EXPECT_TRUE(weights_of("cut") == weights_of("whole")) << "seed " << ::getpid();
  EXPECT_EQ(column_of("cut", "reward"), column_of("whole", "reward"));
  EXPECT_EQ(read_file(at("cut/samples.jsonl")), read_file(at("whole/samples.jsonl")));
}

TEST_F(RlTest, ACheckpointIsAModelWithItsTexts) {
  RlConfig c = rl("texts");
  c.steps = 2;
  run_rl(c);
  const Path checkpoint = *latest_checkpoint(at("texts/checkpoints"));
  const ModelFiles model(at("texts/model")), saved(checkpoint);
  EXPECT_TRUE(saved.texts().tokenizer_json && saved.texts().tokenizer_config);
  EXPECT_EQ(saved.texts().tokenizer_json, model.texts().tokenizer_json);
  EXPECT_EQ(saved.texts().chat_template, model.texts().chat_template);
  EXPECT_EQ(saved.texts().generation_config, model.texts().generation_config);
  const auto generate = [&](const Path& path) {
    return run_program("generate '" + path.string() + "' -p 'seven > three' -n 8 --temperature 0");
  };
  const Outcome from_checkpoint = generate(checkpoint), from_model = generate(at("texts/model"));
  EXPECT_EQ(from_checkpoint.code, 0) << from_checkpoint.error;
  EXPECT_FALSE(from_checkpoint.out.empty());
  EXPECT_EQ(from_checkpoint.out, from_model.out);
}

// Rollouts spread over ranks, two updates a step in four parts.
TEST_F(RlTest, OverRanksItHasTheSameBits) {
  const auto with = [&](const std::string& output, const MeshShape& ranks) {
    RlConfig c = rl(output);
    c.steps = 3;
    c.updates_per_step = 2;
    c.micro_rows_max = 64;
    c.parts = 4;
    c.kl.beta = 0.05;
    c.ranks.data = ranks.data;
    c.ranks.expert = ranks.expert;
    c.ranks.pipeline = ranks.pipeline;
    run_ranks(static_cast<int>(ranks.count()), [&](Group& group) { run_rl(c, group); });
  };
  ::setenv("DURE_THREADS", "1", 1);
  with("on-1", {});
  EXPECT_NE(column_of("on-1", "reference_kl").back(), 0.0);
  const ModelConfig model = ModelFiles(at("sft/model"), Extent::kHeader).config();
  for (const MeshShape ranks : {MeshShape{.data = 2},
                                {.data = 4},
                                {.expert = 2},
                                {.data = 2, .expert = 2},
                                {.pipeline = 2},
                                {.pipeline = 3},
                                {.data = 2, .pipeline = 2},
                                {.expert = 2, .pipeline = 2}}) {
    const std::string name = fmt::format("on-{}x{}x{}", ranks.data, ranks.expert, ranks.pipeline);
    with(name, ranks);
    if (GatheredWeights::needed(ranks)) {
      const std::vector<int64_t> layers =
          stage_layers({.pipeline = ranks.pipeline}, model, /*mtp=*/false, "test");
      // Once a step; the first rank's.
      for (const double sent : column_of(name, "ranks/gathered_bytes"))
        EXPECT_EQ(sent, gather_sent(model, ranks, {}, layers)) << name;
    }
    EXPECT_TRUE(weights_of(name) == weights_of("on-1")) << name;
    for (const char* column :
         {"reward", "loss", "grad_norm", "entropy", "sampler_mismatch_max", "reference_kl"})
      EXPECT_EQ(column_of(name, column), column_of("on-1", column)) << name << " " << column;
    EXPECT_EQ(read_file(at(name) / "samples.jsonl"), read_file(at("on-1/samples.jsonl")));
    const Path one = *latest_checkpoint(at("on-1/checkpoints")),
               other = *latest_checkpoint(at(name) / "checkpoints");
    EXPECT_TRUE(read_file(one / "optimiser.safetensors") ==
                read_file(other / "optimiser.safetensors"));
  }
  ::unsetenv("DURE_THREADS");
}

TEST_F(RlTest, AFinishedRunIsLeftAsItIs) {
  RlConfig c = rl("done");
  c.steps = 2;
  run_rl(c);
  const auto time = std::filesystem::last_write_time(at("done/model/model.safetensors"));
  run_rl(c);
  EXPECT_EQ(std::filesystem::last_write_time(at("done/model/model.safetensors")), time);
  EXPECT_EQ(steps_written("done"), 2u);
}

TEST_F(RlTest, AnInterruptSavesTheStateFirst) {
  run_rl(rl("unbroken"));
  const int status = do_apart([&] { run_rl(rl("stopped")); }, nullptr,
                              [&](pid_t child) {
                                while (steps_written("stopped") < 3) ::usleep(2000);
                                ::kill(child, SIGINT);
                              });
  const size_t steps = steps_written("stopped");
  if (steps < 6) {
    EXPECT_EQ(WEXITSTATUS(status), 130);
    EXPECT_EQ(Checkpoint(*latest_checkpoint(at("stopped/checkpoints"))).step(),
              static_cast<int64_t>(steps));
  }
  run_rl(rl("stopped"));
  EXPECT_TRUE(weights_of("stopped") == weights_of("unbroken"));
}

TEST_F(RlTest, SignalsSaveAndSayWhichOneCame) {
  const auto longer = [&](const std::string& name) {
    RlConfig c = rl(name);
    c.steps = 40;
    c.checkpoint.every_steps = 1000;
    return c;
  };
  run_rl(longer("uninterrupted"));
  expect_saved_on_signals(
      "rl", "uninterrupted",
      [&](const std::string& name) {
        const Path file = at(name + ".yaml");
        write_file(file, to_json(longer(name)).dump());
        return file;
      },
      [&](const std::string& name) { run_rl(longer(name)); });
}

TEST_F(RlTest, ThreadsDoNotChangeABit) {
  for (const char* threads : {"1", "3"})
    EXPECT_EQ(do_apart([&] { run_rl(rl(std::string("t") + threads)); }, threads), 0);
  EXPECT_TRUE(weights_of("t1") == weights_of("t3"));
}

TEST_F(RlTest, AGgufFileStartsARunAsItsFolderDoes) {
  convert_to_gguf(ModelFiles(at("sft/model")), at("sft.gguf"), {});
  RlConfig folder = rl("from-folder"), gguf = rl("from-gguf");
  folder.steps = gguf.steps = 2;
  gguf.init = at("sft.gguf").string();
  run_rl(folder);
  run_rl(gguf);
  EXPECT_TRUE(weights_of("from-gguf") == weights_of("from-folder"));
  TrainConfig from_folder = tuning("sft-folder", "sft/model");
  TrainConfig from_gguf = tuning("sft-gguf", "sft.gguf");
  from_folder.steps = from_gguf.steps = 2;
  from_folder.data.tasks = from_gguf.data.tasks = tasks();
  from_folder.schedule = from_gguf.schedule = {.warmup_steps = 1, .decay_fraction = 0};
  run(from_folder);
  run(from_gguf);
  EXPECT_TRUE(weights_of("sft-gguf") == weights_of("sft-folder"));
  const char* text = "the village shares its work: 7 > 3<|endofturn|>";
  EXPECT_EQ(Tokenizer::load(at("from-gguf/model")).encode(text),
            Tokenizer::load(at("from-folder/model")).encode(text));
}

TEST_F(RlTest, EveryObjectiveIsOneNameAway) {
  for (const auto& [objective, name] : enum_names(Objective())) {
    RlConfig c = rl(std::string("o-") + name, objective);
    c.steps = 2;
    run_rl(c);
    for (const double loss : losses_of(std::string("o-") + name))
      EXPECT_TRUE(std::isfinite(loss)) << name;
  }
}

TEST_F(RlTest, LaterUpdatesAreOffPolicy) {
  RlConfig c = rl("off");
  c.steps = 3;
  c.updates_per_step = 2;
  run_rl(c);
  double largest = 0;
  for (const double mismatch : column_of("off", "sampler_mismatch_max"))
    largest = std::max(largest, mismatch);
  EXPECT_GT(largest, 0);
}

// What is rewarded is what would be asked: the last of several questions, answered at once.
TEST_F(RlTest, SeveralTurnsWithThinkingOff) {
  RlConfig c = rl("turns");
  c.steps = 3;
  c.log_samples = 12;
  c.tasks.turns_max = 2;
  c.rollout.thinking = Thinking::kOff;
  run_rl(c);
  for (const double mismatch : column_of("turns", "sampler_mismatch_max")) EXPECT_EQ(mismatch, 0);
  int64_t several = 0;
  for (const Json& sample : read_metrics(at("turns/samples.jsonl"))) {
    EXPECT_EQ(sample.at("thinking").as_string(), "");
    several += sample.find("earlier") != nullptr ? 1 : 0;
  }
  EXPECT_GT(several, 5);
  EXPECT_LT(several, 31);
}

TEST_F(RlTest, GoesOnWithoutTheModelItStartedFrom) {
  run_rl(rl("with-init"));
  std::filesystem::copy(at("sft/model"), at("lent"));
  RlConfig c = rl("without-init");
  c.init = at("lent").string();
  c.steps = 2;
  run_rl(c);
  std::filesystem::remove_all(at("lent"));
  c.steps = 6;
  run_rl(c);
  EXPECT_TRUE(weights_of("without-init") == weights_of("with-init"));
  c.output = at("never-begun").string();
  EXPECT_THROW(run_rl(c), Error);
  EXPECT_FALSE(path_exists(at("never-begun")));
}

TEST_F(RlTest, TooLongFitAreDroppedCutOrRefusedAtTheStart) {
  const auto long_run = [&](const std::string& output, TooLong rule) {
    RlConfig c = rl(output);
    c.steps = 3;
    c.tasks.sorting = {.weight = 1, .length_min = 3, .length_max = 40, .value_max = 99999};
    c.rollout.context_tokens_max = 90;
    c.rollout.long_prompts = rule;
    return c;
  };
  run_rl(long_run("dropped", TooLong::kDrop));
  run_rl(long_run("cut-prompts", TooLong::kTruncate));
  EXPECT_EQ(steps_written("dropped"), 3u);
  EXPECT_EQ(steps_written("cut-prompts"), 3u);
  const auto refusal = [](const RlConfig& c) { return message_of([&] { run_rl(c); }); };
  EXPECT_NE(refusal(long_run("refused", TooLong::kRefuse)).find("long_prompts"), std::string::npos);
  RlConfig c = long_run("refused", TooLong::kDrop);
  c.rollout.new_tokens_max = 90;
  EXPECT_NE(refusal(c).find("rollout.new_tokens_max is 90"), std::string::npos);
  c.rollout.context_tokens_max = 100000;
  EXPECT_NE(refusal(c).find("context_tokens_max is 100000"), std::string::npos);
  EXPECT_EQ(steps_written("refused"), 0u);
}

TEST_F(RlTest, AnotherRunInTheSameFolderIsRefused) {
  RlConfig c = rl("refuse");
  c.steps = 2;
  run_rl(c);
  c.seed = 9;
  try {
    run_rl(c);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("another 'seed'"), std::string::npos) << error.what();
  }
}

// A run's step is learn_from_rollouts() (rl/whole_rl_step_test.cc) on the rollouts that follow from
// its seed, with what the configuration says: the same bits by hand.
TEST_F(RlTest, AStepIsWhatItIsConfiguredFor) {
  RlConfig c = rl("configured", Objective::kGrpo);
  c.seed = 5;
  c.steps = 2;
  c.updates_per_step = 2;
  c.micro_rows_max = 128;
  c.objective.epsilon = 0.5;
  c.objective.clip_high = 1e-3;
  c.optimiser.weight_decay = 0.3;
  c.optimiser.clip_norm = 0.05;
  c.schedule = {.warmup_steps = 2, .decay_fraction = 0};
  run_rl(c);
  const auto files = std::make_shared<ModelFiles>(at("sft/model"));
  const ChatTexts texts = load_chat_texts(*files);
  const PromptSource source{c.rollout, c.tasks, 5, texts};
  const PromptRoom room =
      measure_room(source, {0, 2}, {.prompt_tokens_max = 256, .new_tokens_max = 24});
  CpuStream stream;
  OptimiserOptions optimiser{.learning_rate = c.optimiser.learning_rate, .weight_decay = 0.3};
  optimiser.clip_norm = 0.05;
  Learner learner(files->config(), rl_learner_options(optimiser, 128), stream);
  load_parameters(*files, learner.parameters(), stream);
  Generator generator(learner.weights(),
                      {.sequences_max = 36, .context_tokens_max = room.context_tokens()}, stream);
  ObjectiveOptions objective(Objective::kGrpo);
  objective.epsilon = 0.5;
  objective.clip_high = 1e-3;
  const std::vector<Json> rows = read_metrics(at("configured/metrics.jsonl"));
  for (int64_t step = 0; step < 2; ++step) {
    const double rate = 1e-3 * static_cast<double>(step + 1) / 2;
    const RlLearnt learnt =
        learn_from_rollouts(collect_rollouts(source, step, room, generator),
                            {.objective = objective, .updates = 2, .rows_max = 128},
                            {.index = step, .learning_rate = rate, .where = "by hand"}, learner);
    ASSERT_EQ(learnt.updates.count, 2) << "the model must be right now and then";
    const auto is = [&](const char* name, double value) {
      EXPECT_EQ(rows[static_cast<size_t>(step)].at(name).as_double(), value) << name;
    };
    const ObjectiveStats& stats = learnt.objective;
    const double tokens = static_cast<double>(stats.token_count);
    is("loss", learnt.loss / 2);
    is("kl", stats.kl_sum / tokens);
    is("entropy", learnt.entropy_sum / tokens);
    is("clip_ratio", static_cast<double>(stats.clipped_count) / tokens);
    is("grad_norm", learnt.updates.mean_gradient_norm());
  }
  const ModelFiles released(at("configured/model"));
  for (const Parameter& p : learner.parameters().list()) {
    if (p.view.elements() == 0 || is_expert(p.id.role)) continue;
    const ConstTensorView stored = released.tensor(p.id);
    EXPECT_EQ(std::memcmp(stored.data, p.view.data, static_cast<size_t>(stored.bytes())), 0)
        << p.name;
  }
}

// Problems are others in every group and step; answers follow from the seed, the step and the place
// in it.
TEST_F(RlTest, RolloutsFollowFromSeedStepAndPlace) {
  const RlConfig c = rl("unused");
  const auto files = std::make_shared<ModelFiles>(at("sft/model"));
  const ChatTexts texts = load_chat_texts(*files);
  CpuStream stream;
  Parameters parameters(files->config());
  load_parameters(*files, parameters, stream);
  const ModelWeights weights = bind_weights(parameters, stream);
  Generator generator(weights, {.sequences_max = 36, .context_tokens_max = 256}, stream);
  const PromptRoom room{.prompt_tokens_max = 128, .new_tokens_max = 24};
  std::vector<std::vector<Rollout>> steps;
  for (const uint64_t seed : {5u, 6u}) {
    const PromptSource source{c.rollout, c.tasks, seed, texts};
    for (int64_t step = 0; step < 2; ++step) {
      steps.push_back(collect_rollouts(source, step, room, generator));
      const std::vector<Rollout>& all = steps.back();
      ASSERT_EQ(all.size(), 36u);
      std::vector<GenerationRequest> requests;
      for (size_t i = 0; i < all.size(); ++i) {
        requests.push_back({.prompt = all[i].prompt,
                            .new_tokens_max = 24,
                            .stop_tokens = texts.require_stop_tokens(),
                            .stream = stream_id("rl rollout", static_cast<uint64_t>(step), i)});
        requests.back().sampling.seed = seed;
      }
      const std::vector<Generation> again = generator.run(std::move(requests));
      for (size_t i = 0; i < all.size(); ++i)
        EXPECT_EQ(all[i].generation.tokens, again[i].tokens) << seed << " " << step << " " << i;
    }
  }
  std::set<std::vector<std::vector<int32_t>>> kinds;
  for (const std::vector<Rollout>& all : steps) {
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = 0; i < all.size(); i += 6) prompts.push_back(all[i].prompt);
    EXPECT_GT(std::set(prompts.begin(), prompts.end()).size(), 1u);
    kinds.insert(prompts);
  }
  EXPECT_EQ(kinds.size(), 4u);
}

}  // namespace
}  // namespace dure
