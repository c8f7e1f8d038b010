// Many threads ask one engine: every accepted request ends exactly once, those that end by
// themselves with the bits of the request alone, and nothing stays behind.
#include "engine/engine_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;
using namespace std::chrono_literals;

constexpr GeneratorOptions kOptions{
    .sequences_max = 4, .context_tokens_max = 256, .batch_rows_max = 32, .chunk_tokens_max = 20};

// What one request hears; another thread waits for its end.
struct Ear {
  std::mutex mutex;
  std::condition_variable ended;
  Generation heard;
  int ends = 0;

  EngineThread::Sink sink() {
    return [this](const TokenEvent& e) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (e.token) {
        EXPECT_EQ(e.index, std::ssize(heard.tokens));
        heard.tokens.push_back(*e.token);
        heard.log_probabilities.push_back(e.log_probability);
      }
      EXPECT_EQ(ends, 0) << "heard after the end";
      if (e.finish == FinishReason::kRunning) return;
      heard.finish = e.finish;
      EXPECT_EQ(e.error != nullptr, e.finish == FinishReason::kError);
      if (e.error != nullptr) heard.error.emplace(*e.error);
      ++ends;
      ended.notify_all();
    };
  }
  Generation wait() {
    std::unique_lock<std::mutex> lock(mutex);
    ended.wait(lock, [&] { return ends > 0; });
    return heard;
  }
};

// Keeps the engine's thread inside a sink until it is opened.
class Gate {
 public:
  void open() {
    shut_.store(false);
    shut_.notify_all();
  }
  EngineThread::Sink sink() {
    return [this](const TokenEvent&) {
      reached_.store(true);
      reached_.notify_all();
      shut_.wait(true);
    };
  }
  void wait_reached() { reached_.wait(false); }

 private:
  std::atomic<bool> shut_{true}, reached_{false};
};

ErrorCode refusal(EngineThread& engine, GenerationRequest request) {
  try {
    engine.submit(std::move(request), [](const TokenEvent&) {});
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "was taken";
  return ErrorCode::kIo;
}

TEST(EngineThread, ThreadsHearWhatTheGeneratorSays) {
  Model model;
  const std::vector<GenerationRequest> all = requests(16);
  const auto reference = Generator(model.weights, kOptions, model.stream).run(all);
  EngineThread engine(model.weights, {.generator = kOptions}, model.stream);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::unique_ptr<Ear>> ears;
      for (size_t i = t; i < all.size(); i += 4) {
        ears.push_back(std::make_unique<Ear>());
        engine.submit(all[i], ears.back()->sink());
      }
      for (size_t i = t; i < all.size(); i += 4) {
        const Generation got = ears[i / 4]->wait();
        EXPECT_EQ(got.tokens, reference[i].tokens);
        EXPECT_EQ(got.log_probabilities, reference[i].log_probabilities);
        EXPECT_EQ(got.finish, reference[i].finish);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  engine.drain();
  const EngineStatistics s = engine.statistics();
  EXPECT_EQ(s.submitted, 16);
  EXPECT_EQ(s.finished[static_cast<size_t>(FinishReason::kStop)] +
                s.finished[static_cast<size_t>(FinishReason::kLength)],
            16);
  EXPECT_EQ(s.generator.running + s.waiting + s.waiting_tokens + s.generator.pages_used, 0);
  int64_t steps = 0;
  for (const int64_t n : s.steps_by_time) steps += n;
  EXPECT_EQ(steps, s.generator.steps);
  EXPECT_GT(s.step_s_sum, 0);
  EXPECT_EQ(refusal(engine, {.prompt = {1}, .new_tokens_max = 2}), ErrorCode::kUnavailable);
}

TEST(EngineThread, RefusesWhenItsQueueIsFull) {
  Model model;
  EngineThread engine(model.weights,
                      {.generator = kOptions, .waiting_requests_max = 3, .waiting_tokens_max = 100},
                      model.stream);
  EXPECT_EQ(refusal(engine, {}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(engine, {.prompt = {1}, .sampling = {.logit_bias = {{1, 1e39}}}}),
            ErrorCode::kInvalidArgument);
  Gate gate;
  engine.submit({.prompt = {1}, .new_tokens_max = 200}, gate.sink());
  gate.wait_reached();
  // The engine stands; it has published nothing of the step that runs: 4 places, 1 of them taken.
  std::vector<std::unique_ptr<Ear>> ears;
  const auto submit = [&](int64_t tokens) {
    ears.push_back(std::make_unique<Ear>());
    engine.submit(
        {.prompt = std::vector<int32_t>(static_cast<size_t>(tokens), 2), .new_tokens_max = 2},
        ears.back()->sink());
  };
  for (int i = 0; i < 3; ++i) submit(1);
  submit(80);
  EXPECT_EQ(refusal(engine, {.prompt = std::vector<int32_t>(60, 1), .new_tokens_max = 2}),
            ErrorCode::kBusy);
  submit(5);
  submit(5);
  EXPECT_EQ(refusal(engine, {.prompt = {1}, .new_tokens_max = 2}), ErrorCode::kBusy);
  EXPECT_EQ(engine.statistics().refused, 2);
  gate.open();
  for (const auto& ear : ears) EXPECT_EQ(ear->wait().finish, FinishReason::kLength);
  submit(90);
  EXPECT_EQ(ears.back()->wait().finish, FinishReason::kLength);
}

TEST(EngineThread, CancelsAtAnyTime) {
  Model model;
  EngineThread engine(model.weights, {.generator = kOptions}, model.stream);
  Ear running, waiting, others[4], late;
  Gate gate;
  const auto a = engine.submit({.prompt = {1, 2}, .new_tokens_max = 250}, running.sink());
  for (Ear& ear : others) engine.submit({.prompt = {3}, .new_tokens_max = 40}, ear.sink());
  const auto b = engine.submit({.prompt = {4}, .new_tokens_max = 250}, waiting.sink());
  engine.cancel(b);
  engine.cancel(a);
  engine.cancel(a);
  engine.cancel(12345);
  EXPECT_EQ(running.wait().finish, FinishReason::kCancelled);
  EXPECT_EQ(waiting.wait().finish, FinishReason::kCancelled);
  for (Ear& ear : others) EXPECT_EQ(ear.wait().tokens.size(), 40u);
  engine.submit({.prompt = {1}, .new_tokens_max = 250}, late.sink(),
                EngineThread::Clock::now() - 1ms);
  EXPECT_EQ(late.wait().finish, FinishReason::kDeadline);
  engine.drain();
  EXPECT_EQ(engine.statistics().generator.pages_used, 0);
}

TEST(EngineThread, DrainsAndStops) {
  Model model;
  Ear a, b;
  {
    EngineThread engine(model.weights, {.generator = kOptions}, model.stream);
    EXPECT_TRUE(engine.drain_until(EngineThread::Clock::now())) << "idle";
  }
  {
    EngineThread engine(model.weights, {.generator = kOptions}, model.stream);
    Gate gate;
    engine.submit({.prompt = {1}, .new_tokens_max = 1}, gate.sink());
    engine.submit({.prompt = {1}, .new_tokens_max = 60}, a.sink());
    gate.wait_reached();
    EXPECT_FALSE(engine.drain_until(EngineThread::Clock::now() + 5ms));
    EXPECT_EQ(refusal(engine, {.prompt = {1}, .new_tokens_max = 2}), ErrorCode::kUnavailable);
    gate.open();
    engine.drain();
    EXPECT_EQ(a.wait().tokens.size(), 60u);
  }
  EngineThread engine(model.weights, {.generator = kOptions}, model.stream);
  engine.submit({.prompt = {1}, .new_tokens_max = 250}, b.sink());
  engine.stop();
  EXPECT_EQ(b.heard.finish, FinishReason::kCancelled);
  EXPECT_EQ(b.ends, 1);
  EXPECT_EQ(refusal(engine, {.prompt = {1}, .new_tokens_max = 2}), ErrorCode::kUnavailable);
  engine.cancel(1);
  engine.stop();
}

TEST(EngineThread, ASinkMayThrowOrAskAgain) {
  Model model;
  const std::vector<GenerationRequest> all = requests(3);
  const auto reference = Generator(model.weights, kOptions, model.stream).run(all);
  EngineThread engine(model.weights, {.generator = kOptions}, model.stream);
  std::atomic<int> calls{0};
  engine.submit({.prompt = {1}, .new_tokens_max = 100}, [&](const TokenEvent&) {
    if (++calls == 3) throw std::runtime_error("a reader is gone");
  });
  Ear next, beside;
  engine.submit(all[0], [&](const TokenEvent& e) {
    if (e.finish != FinishReason::kRunning) engine.submit(all[1], next.sink());
  });
  engine.submit(all[2], beside.sink());
  EXPECT_EQ(beside.wait().tokens, reference[2].tokens);
  EXPECT_EQ(next.wait().tokens, reference[1].tokens);
  engine.drain();
  EXPECT_EQ(calls, 3);
  const EngineStatistics s = engine.statistics();
  EXPECT_EQ(s.sink_faults, 1);
  EXPECT_EQ(s.finished[static_cast<size_t>(FinishReason::kCancelled)], 1);
}

class ThrowingMask : public TokenMask {
 public:
  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override {
    if (generated.size() >= 3) fail(ErrorCode::kInvalidArgument, "this grammar ends here");
    return {};
  }
};

// One thread of the stress: submits at random, some with faults, cancels some, waits for all.
struct Caller {
  EngineThread& engine;
  const std::vector<GenerationRequest>& all;
  const std::vector<Generation>& reference;
  Rng rng;
  int64_t whole = 0, broken = 0, busy = 0;

  enum class Kind : uint8_t { kPlain, kCancelled, kMask, kSinkThrows, kDeadline };
  struct Asked {
    size_t request = 0;
    Kind kind = Kind::kPlain;
    EngineThread::Ticket ticket = 0;
    std::unique_ptr<Ear> ear = std::make_unique<Ear>();
  };

  void ask(std::vector<Asked>& asked) {
    Asked one{.request = static_cast<size_t>(rng.below(std::ssize(all)))};
    if (rng.below(3) == 0) one.kind = static_cast<Kind>(rng.between(1, 4));
    GenerationRequest request = all[one.request];
    if (one.kind == Kind::kMask) request.mask = std::make_shared<ThrowingMask>();
    std::optional<EngineThread::Clock::time_point> deadline;
    if (one.kind == Kind::kDeadline)
      deadline = EngineThread::Clock::now() + std::chrono::microseconds(rng.below(20000));
    EngineThread::Sink sink = one.ear->sink();
    if (one.kind == Kind::kSinkThrows) {
      sink = [inner = one.ear->sink(), seen = 0](const TokenEvent& e) mutable {
        if (++seen > 2) throw std::runtime_error("gone");
        if (e.finish == FinishReason::kRunning) inner(e);
      };
    }
    try {
      one.ticket = engine.submit(std::move(request), std::move(sink), deadline);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBusy);
      ++busy;
      std::this_thread::sleep_for(1ms);
      return;
    }
    asked.push_back(std::move(one));
  }

  void settle(Asked& one) {
    if (one.kind == Kind::kSinkThrows) return;  // Nobody hears its end.
    const Generation got = one.ear->wait();
    const Generation& wanted = reference[one.request];
    ASSERT_LE(got.tokens.size(), wanted.tokens.size());
    for (size_t i = 0; i < got.tokens.size(); ++i) {
      ASSERT_EQ(got.tokens[i], wanted.tokens[i]);
      ASSERT_EQ(got.log_probabilities[i], wanted.log_probabilities[i]);
    }
    if (got.finish == wanted.finish) {
      EXPECT_EQ(got.tokens.size(), wanted.tokens.size());
      ++whole;
    } else {
      EXPECT_NE(one.kind, Kind::kPlain);
      ++broken;
    }
  }

  void work(EngineThread::Clock::time_point until) {
    while (EngineThread::Clock::now() < until) {
      std::vector<Asked> asked;
      for (int64_t n = rng.between(1, 8); n > 0; --n) ask(asked);
      for (Asked& one : asked) {
        if (one.kind != Kind::kCancelled) continue;
        std::this_thread::sleep_for(std::chrono::microseconds(rng.below(3000)));
        engine.cancel(one.ticket);
      }
      EXPECT_GE(engine.statistics().submitted, std::ssize(asked));
      for (Asked& one : asked) settle(one);
      if (std::any_of(asked.begin(), asked.end(),
                      [](const Asked& a) { return a.kind == Kind::kSinkThrows; }))
        kept.push_back(std::move(asked));
    }
  }
  std::vector<std::vector<Asked>> kept;  // Whose sinks may still be called.
};

TEST(EngineThread, Stress) {
  Model model(tiny_config(), 2);
  std::vector<GenerationRequest> all = requests(24);
  for (GenerationRequest& r : all) {
    r.prompt.resize(std::min<size_t>(r.prompt.size(), 40));
    r.new_tokens_max += 60;
  }
  GeneratorOptions options = kOptions;
  options.page_count = 5;
  const auto reference = Generator(model.weights, options, model.stream).run(all);
  std::vector<std::unique_ptr<Caller>> callers;
  {
    EngineThread engine(
        model.weights,
        {.generator = options, .waiting_requests_max = 10, .waiting_tokens_max = 900},
        model.stream);
    const auto until = EngineThread::Clock::now() + 3s;
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; ++t) {
      callers.push_back(std::unique_ptr<Caller>(new Caller{engine, all, reference, Rng(31, t)}));
      threads.emplace_back([caller = callers.back().get(), until] { caller->work(until); });
    }
    for (std::thread& thread : threads) thread.join();
    engine.drain();
    const EngineStatistics s = engine.statistics();
    EXPECT_EQ(s.generator.pages_used + s.generator.running + s.waiting, 0);
    int64_t finished = 0;
    for (const int64_t n : s.finished) finished += n;
    EXPECT_EQ(finished, s.submitted);
    std::printf("%lld submitted, %lld refused, %lld steps, %lld preemptions, %lld faults\n",
                static_cast<long long>(s.submitted), static_cast<long long>(s.refused),
                static_cast<long long>(s.generator.steps),
                static_cast<long long>(s.generator.preemptions),
                static_cast<long long>(s.generator.faults));
  }
  int64_t whole = 0, broken = 0;
  for (const auto& caller : callers) {
    whole += caller->whole;
    broken += caller->broken;
  }
  EXPECT_GT(whole, 3);
  EXPECT_GT(broken, 0);
}

}  // namespace
}  // namespace dure
