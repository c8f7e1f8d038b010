// Each batch is sampled with the weights that were promised, whoever is slow; what is left is kept
// and gone on with; faults and endings.
#include "rl/async_sampler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "base/error.h"
#include "kernels/random.h"
#include "rl/rl_step.h"
#include "train/reference_fixture.h"

namespace dure {
namespace {

constexpr int64_t kSteps = 9;

void sleep_ms(int64_t count) { std::this_thread::sleep_for(std::chrono::milliseconds(count)); }

std::vector<Rollout> answer(int64_t step, Generator& generator) {
  generator.forget_prefixes();
  std::vector<Rollout> out(1);
  out[0].generation = generator.run({{.prompt = {static_cast<int32_t>(step % 5), 3},
                                      .new_tokens_max = 6,
                                      .stream = static_cast<uint64_t>(step)}})[0];
  return out;
}

struct Trained {
  CpuStream stream{1};
  Learner learner;
  GeneratorOptions engine{.sequences_max = 2, .context_tokens_max = 16, .batch_rows_max = 16};

  Trained()
      : learner(small_model(),
                rl_learner_options(small_optimiser(OptimiserKind::kAdamW, 0.01, 1), 24), stream) {
    set(0);
  }
  // The weights after so many steps.
  void set(int64_t step) {
    learner.parameters().initialise(static_cast<uint64_t>(100 + step), stream);
    learner.parameters_changed();
  }
  Generation expected(int64_t step, int64_t weights_step) {
    set(weights_step);
    Generator generator(learner.weights(), engine, stream);
    return answer(step, generator)[0].generation;
  }
  AsyncSamplerOptions options(int64_t stale_steps) const {
    return {.stale_steps = stale_steps, .steps = kSteps, .generator = engine};
  }
};

struct Pace {
  int64_t sampler_ms = 0, trainer_ms = 0;
};

void expect_batches(const std::vector<SampledBatch>& batches, int64_t first, int64_t stale) {
  Trained t;
  for (size_t i = 0; i < batches.size(); ++i) {
    const int64_t step = first + static_cast<int64_t>(i);
    const SampledBatch& batch = batches[i];
    EXPECT_EQ(batch.step, step);
    EXPECT_EQ(batch.weights_step, std::max<int64_t>(0, step - stale));
    const Generation expected = t.expected(step, batch.weights_step);
    EXPECT_EQ(batch.rollouts[0].generation.tokens, expected.tokens) << step;
    EXPECT_EQ(batch.rollouts[0].generation.log_probabilities, expected.log_probabilities) << step;
  }
}

TEST(AsyncSampler, EachBatchIsOfItsWeightsWhoeverIsSlow) {
  for (const int64_t stale : {1, 2, 4, 20}) {
    for (const Pace pace : {Pace{0, 0}, Pace{4, 0}, Pace{0, 4}}) {
      Trained t;
      AsyncSampler sampler(t.learner, t.options(stale),
                           [&](int64_t step, Generator& generator, const AsyncSampler::KeepOn&) {
                             sleep_ms(pace.sampler_ms);
                             return answer(step, generator);
                           });
      std::vector<SampledBatch> batches;
      for (int64_t step = 0; step < kSteps; ++step) {
        t.set(step);
        batches.push_back(sampler.next(step));
        sleep_ms(pace.trainer_ms);
      }
      EXPECT_TRUE(sampler.finished().empty());
      expect_batches(batches, 0, stale);
    }
  }
}

TEST(AsyncSampler, GoesOnWithWhatWasLeft) {
  for (const int64_t stale : {1, 3}) {
    std::deque<SampledBatch> left;
    {
      Trained t;
      AsyncSampler sampler(t.learner, t.options(stale),
                           [](int64_t step, Generator& generator, const AsyncSampler::KeepOn&) {
                             return answer(step, generator);
                           });
      for (int64_t step = 0; step < 4; ++step) {
        t.set(step);
        sampler.next(step);
      }
      left = sampler.finished();
    }
    EXPECT_EQ(std::ssize(left), stale);
    Trained t;
    AsyncSampler sampler(t.learner, t.options(stale),
                         [](int64_t step, Generator& generator, const AsyncSampler::KeepOn&) {
                           return answer(step, generator);
                         });
    sampler.restore(4, std::move(left));
    std::vector<SampledBatch> batches;
    for (int64_t step = 4; step < kSteps; ++step) {
      t.set(step);
      batches.push_back(sampler.next(step));
      // Measured in between, on the weights as they are: nothing of the order changes.
      t.set(step + 1);
      const Generation measured = answer(77, sampler.pause())[0].generation;
      EXPECT_EQ(measured.log_probabilities, t.expected(77, step + 1).log_probabilities);
    }
    expect_batches(batches, 4, stale);
  }
}

TEST(AsyncSampler, AFaultReachesTheTrainerAndAnEndStopsTheSampler) {
  Trained t;
  {
    AsyncSampler sampler(t.learner, t.options(1),
                         [](int64_t step, Generator& generator,
                            const AsyncSampler::KeepOn&) -> std::vector<Rollout> {
                           if (step == 1) fail(ErrorCode::kIo, "no verifier");
                           return answer(step, generator);
                         });
    EXPECT_EQ(sampler.next(0).step, 0);
    EXPECT_THROW(sampler.next(1), Error);
    EXPECT_THROW(sampler.finished(), Error);
  }
  std::atomic<bool> given_up = false;
  {
    AsyncSampler sampler(t.learner, t.options(1),
                         [&](int64_t step, Generator& generator,
                             const AsyncSampler::KeepOn& keep_on) -> std::vector<Rollout> {
                           if (step == 0) return answer(step, generator);
                           try {
                             while (true) {
                               keep_on(0);
                               sleep_ms(1);
                             }
                           } catch (...) {
                             given_up = true;
                             throw;
                           }
                         });
    sampler.next(0);
  }
  EXPECT_TRUE(given_up);
}

}  // namespace
}  // namespace dure
