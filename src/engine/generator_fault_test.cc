// A fault belongs to its request: whatever breaks (a mask, a bias, a number that is not finite, a
// transfer, an allocation), at whatever place, every other request's bits are those of a run
// without it, the generator goes on, and no memory stays behind.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <limits>
#include <new>

#include "base/error.h"
#include "engine/engine_fixture.h"
#include "tensor/fenced_stream.h"

namespace {

// Allocations of this program: counted while `armed`, and the one that is `to_fail` fails.
thread_local bool armed = false;
thread_local int64_t allocations = 0, to_fail = -1;

void* allocate(size_t bytes, size_t alignment) {
  if (armed && allocations++ == to_fail) throw std::bad_alloc();
  void* p = alignment > alignof(std::max_align_t)
                ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                : std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes, 1); }
void* operator new[](size_t bytes) { return allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t a) {
  return allocate(bytes, static_cast<size_t>(a));
}
void* operator new[](size_t bytes, std::align_val_t a) {
  return allocate(bytes, static_cast<size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace dure {
namespace {

using namespace testing_engine;

constexpr GeneratorOptions kOptions{
    .sequences_max = 6, .context_tokens_max = 256, .batch_rows_max = 48, .chunk_tokens_max = 20};

// Below 0: so many by whichever drafter promises most.
GeneratorOptions with(int64_t drafts, int64_t pages = 0) {
  GeneratorOptions o = kOptions;
  o.draft_tokens_max = std::abs(drafts);
  if (drafts < 0) o.drafter = DrafterChoice::kAuto;
  o.page_count = pages;
  return o;
}

// Of every kind: plain, filtered, penalised, greedy, with the likeliest tokens.
std::vector<GenerationRequest> mixed_requests(int count) {
  std::vector<GenerationRequest> all = requests(count);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % 4 == 1) all[i].sampling.repetition_penalty = 1.2;
    if (i % 4 == 2) all[i].sampling.frequency_penalty = 0.3;
    if (i % 4 == 3) all[i].sampling.temperature = 0;
    if (i % 3 == 0) all[i].top_count = 3;
    all[i].new_tokens_max = std::min<int64_t>(all[i].new_tokens_max, 30);
  }
  return all;
}

// All results, errors as they are.
std::vector<Generation> finish(Generator& generator, const std::vector<GenerationRequest>& all) {
  std::vector<int64_t> ids;
  for (const GenerationRequest& r : all) ids.push_back(generator.submit(r));
  while (generator.step()) {
  }
  std::vector<Generation> out;
  for (const int64_t id : ids) out.push_back(generator.take(id));
  EXPECT_EQ(generator.statistics().pages_used, 0);
  EXPECT_EQ(generator.running_count(), 0);
  return out;
}

void expect_equal(const Generation& a, const Generation& b, const std::string& what) {
  EXPECT_EQ(a.tokens, b.tokens) << what;
  EXPECT_EQ(a.log_probabilities, b.log_probabilities) << what;
  EXPECT_EQ(a.finish, b.finish) << what;
  ASSERT_EQ(a.top.size(), b.top.size()) << what;
  for (size_t i = 0; i < a.top.size(); ++i) {
    EXPECT_EQ(a.top[i].token, b.top[i].token) << what;
    EXPECT_EQ(a.top[i].log_probability, b.top[i].log_probability) << what;
  }
}

// What an errored request said before is the beginning of what it would have said.
void expect_beginning(const Generation& errored, const Generation& whole, const std::string& what) {
  ASSERT_TRUE(errored.error) << what;
  EXPECT_EQ(errored.finish, FinishReason::kError) << what;
  ASSERT_LE(errored.tokens.size(), whole.tokens.size()) << what;
  for (size_t i = 0; i < errored.tokens.size(); ++i) {
    EXPECT_EQ(errored.tokens[i], whole.tokens[i]) << what;
    EXPECT_EQ(errored.log_probabilities[i], whole.log_probabilities[i]) << what;
  }
}

ModelConfig drafting_config(int64_t vocabulary = 97) {
  ModelConfig c = tiny_config();
  c.vocab_size = vocabulary;
  c.mtp_layer_count = 1;
  c.mtp_layer = sliding_layer(c.mtp_layer, 4);
  return c;
}

// Breaks after so many tokens, each time it is asked from then on.
class BreakingMask : public TokenMask {
 public:
  enum class How : uint8_t { kThrows, kThrowsOther, kAllowsNothing, kTooShort };
  BreakingMask(size_t after, How how) : after_(after), how_(how) {}
  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override {
    if (generated.size() < after_) return {};
    if (how_ == How::kThrows) fail(ErrorCode::kInvalidArgument, "no such token in this grammar");
    if (how_ == How::kThrowsOther) throw std::runtime_error("a fault of the mask");
    return std::span(none_).first(how_ == How::kTooShort ? 1 : 2);
  }

 private:
  size_t after_;
  How how_;
  const std::vector<uint64_t> none_ = {0, 0};
};

// Requests 2 and 5 of each list are broken by `spoil`.
template <typename Spoil>
void expect_only_those_end(Model& model, const GeneratorOptions& options, const std::string& what,
                           ErrorCode code, const Spoil& spoil) {
  Generator generator(model.weights, options, model.stream);
  std::vector<GenerationRequest> all = mixed_requests(9);
  const std::vector<Generation> whole = finish(generator, all);
  for (const size_t i : {2, 5}) spoil(all[i]);
  const std::vector<Generation> got = finish(generator, all);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i != 2 && i != 5) {
      expect_equal(got[i], whole[i], what + std::to_string(i));
    } else {
      ASSERT_TRUE(got[i].error) << what;
      EXPECT_EQ(got[i].error->code(), code) << what << got[i].error->what();
    }
  }
  EXPECT_EQ(generator.statistics().faults, 2) << what;
  const std::vector<Generation> again = finish(generator, mixed_requests(9));
  for (size_t i = 0; i < again.size(); ++i) expect_equal(again[i], whole[i], what + "again");
}

TEST(Fault, AMaskEndsItsRequestAlone) {
  Model model(drafting_config());
  for (const int64_t drafts : {0, 3, -3}) {
    for (const BreakingMask::How how :
         {BreakingMask::How::kThrows, BreakingMask::How::kThrowsOther,
          BreakingMask::How::kAllowsNothing, BreakingMask::How::kTooShort}) {
      for (const size_t after : {0, 4}) {
        expect_only_those_end(model, with(drafts), "mask ", ErrorCode::kInvalidArgument,
                              [&](GenerationRequest& r) {
                                r.new_tokens_max = 30;
                                r.stop_tokens.clear();
                                r.mask = std::make_shared<BreakingMask>(after, how);
                              });
      }
    }
  }
}

TEST(Fault, ABiasThatMakesALogitInfiniteEndsItsRequestAlone) {
  Model model(drafting_config());
  for (const int64_t drafts : {0, 3, -3}) {
    expect_only_those_end(model, with(drafts), "bias ", ErrorCode::kInvalidArgument,
                          [](GenerationRequest& r) {
                            r.sampling.logit_bias = {{3, 3e38}, {3, 3e38}};
                          });
    expect_only_those_end(model, with(drafts), "penalty ", ErrorCode::kInvalidArgument,
                          [](GenerationRequest& r) { r.sampling.repetition_penalty = 1e-300; });
  }
}

// A damaged row of the embedding: whoever reads that token has NaN in its rings and pages, which
// others take over.
TEST(Fault, NumbersThatAreNotFiniteEndTheirRequestAlone) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Model model(drafting_config());
    const TensorView table = model.parameters.at("model.embed_tokens.weight").view;
    for (int64_t i = 0; i < table.dim(1); ++i) table.f32()[96 * table.dim(1) + i] = bad;
    for (const int64_t drafts : {0, 3, -3}) {
      Generator generator(model.weights, with(drafts, 9), model.stream);
      std::vector<GenerationRequest> all = mixed_requests(24);
      for (GenerationRequest& r : all) {
        std::replace(r.prompt.begin(), r.prompt.end(), 96, 95);
        r.sampling.logit_bias = {{96, -std::numeric_limits<double>::infinity()}};
      }
      const std::vector<Generation> whole = finish(generator, all);
      for (size_t i = 2; i < all.size(); i += 5) all[i].prompt[all[i].prompt.size() / 2] = 96;
      const std::vector<Generation> got = finish(generator, all);
      for (size_t i = 0; i < all.size(); ++i) {
        if (i % 5 != 2) {
          expect_equal(got[i], whole[i], "beside NaN " + std::to_string(i));
        } else {
          ASSERT_TRUE(got[i].error) << i;
          EXPECT_EQ(got[i].error->code(), ErrorCode::kDiverged);
          EXPECT_TRUE(got[i].tokens.empty());
        }
      }
    }
  }
}

// A device whose transfers fail: one of them once, or each that carries a certain token.
class FailingStream : public FencedStream {
 public:
  using FencedStream::FencedStream;
  int64_t calls = 0, failing_call = -1;
  int32_t poison = -1;

  void upload(const void* host, void* device, size_t bytes) override {
    count();
    const auto* values = static_cast<const int32_t*>(host);
    if (poison >= 0 && std::find(values, values + bytes / 4, poison) != values + bytes / 4)
      fail(ErrorCode::kIo, "the transfer of {} bytes failed", bytes);
    FencedStream::upload(host, device, bytes);
  }
  void download(const void* device, void* host, size_t bytes) override {
    count();
    FencedStream::download(device, host, bytes);
  }

 private:
  void count() {
    if (calls++ == failing_call) fail(ErrorCode::kIo, "transfer {} failed", calls);
  }
};

struct FailingModel {
  ModelConfig config;
  FailingStream stream{1};
  Parameters parameters;
  ModelWeights weights;
  explicit FailingModel(const ModelConfig& c) : config(c), parameters(c, Device::kFenced) {
    parameters.initialise(11, stream);
    weights = bind_weights(parameters, stream);
  }
};

// Every transfer of a whole run fails once, in turn: with many sequences in the forward nobody
// ends, alone the one whose it was.
TEST(Fault, ATransferThatFailsOnceIsMadeGood) {
  FailingModel model(drafting_config());
  for (const int64_t drafts : {0, 3, -3}) {
    Generator generator(model.weights, with(drafts, 12), model.stream);
    const std::vector<GenerationRequest> all = mixed_requests(7);
    model.stream.calls = 0;
    const std::vector<Generation> whole = finish(generator, all);
    const int64_t calls = model.stream.calls;
    int64_t errors = 0, runs = 0;
    for (int64_t n = 0; n < calls; n += 1 + calls / 20, ++runs) {
      model.stream.calls = 0;
      model.stream.failing_call = n;
      const std::vector<Generation> got = finish(generator, all);
      for (size_t i = 0; i < all.size(); ++i) {
        const std::string what = fmt::format("call {} of {}, request {}", n, calls, i);
        if (got[i].error) {
          ++errors;
          expect_beginning(got[i], whole[i], what);
        } else {
          expect_equal(got[i], whole[i], what);
        }
      }
      model.stream.failing_call = -1;
    }
    std::printf("%lld drafts: %lld transfers, %lld runs, %lld requests ended\n",
                static_cast<long long>(drafts), static_cast<long long>(calls),
                static_cast<long long>(runs), static_cast<long long>(errors));
    EXPECT_LE(errors, runs) << "more than one request ended by one fault";
  }
}

// One token cannot be transferred: whoever has it ends, however often all others were in the same
// forward.
TEST(Fault, AForwardThatThrowsForOneEndsThatOne) {
  constexpr int32_t kPoison = 4999;
  FailingModel model(drafting_config(5000));
  for (const int64_t drafts : {0, 3, -3}) {
    GeneratorOptions o = with(drafts);
    o.prefix = {.keep = true, .stride_tokens = 64};
    Generator generator(model.weights, o, model.stream);
    std::vector<GenerationRequest> all = mixed_requests(6);
    const std::vector<Generation> whole = finish(generator, all);
    for (const size_t i : {1, 4}) all[i].prompt[all[i].prompt.size() / 2] = kPoison;
    model.stream.poison = kPoison;
    const std::vector<Generation> got = finish(generator, all);
    model.stream.poison = -1;
    for (size_t i = 0; i < all.size(); ++i) {
      if (i != 1 && i != 4) {
        expect_equal(got[i], whole[i], "beside a poisoned one " + std::to_string(i));
      } else {
        ASSERT_TRUE(got[i].error);
        EXPECT_EQ(got[i].error->code(), ErrorCode::kIo);
      }
    }
  }
}

struct Armed {
  explicit Armed(int64_t fail) {
    allocations = 0;
    to_fail = fail;
    armed = true;
  }
  ~Armed() { armed = false; }
};

std::vector<Generation> finish_failing(Generator& generator,
                                       const std::vector<GenerationRequest>& all, int64_t fail) {
  std::vector<int64_t> ids;
  for (const GenerationRequest& r : all) ids.push_back(generator.submit(r));
  {
    const Armed arm(fail);
    while (generator.step()) {
    }
  }
  std::vector<Generation> out;
  for (const int64_t id : ids) out.push_back(generator.take(id));
  EXPECT_EQ(generator.statistics().pages_used, 0);
  return out;
}

TEST(Fault, AnAllocationThatFailsIsMadeGood) {
  Model model(drafting_config());
  for (const auto& [drafts, keep] : {std::pair<int64_t, bool>(0, false),
                                     {3, false},
                                     {-3, false},
                                     {0, true},
                                     {3, true},
                                     {-3, true}}) {
    GeneratorOptions o = with(drafts, 12);
    o.prefix = {.keep = keep, .stride_tokens = 64};
    Generator generator(model.weights, o, model.stream);
    std::vector<GenerationRequest> all = mixed_requests(9);
    all[4].mask = std::make_shared<BreakingMask>(2, BreakingMask::How::kThrows);
    const std::vector<Generation> whole = finish_failing(generator, all, -1);
    const int64_t count = allocations;
    if (keep) generator.forget_prefixes();
    int64_t errors = 0, runs = 0;
    for (int64_t n = 0; n < count; n += 1 + count / 50, ++runs) {
      const std::vector<Generation> got = finish_failing(generator, all, n);
      if (keep && n % 2 == 0) generator.forget_prefixes();
      for (size_t i = 0; i < all.size(); ++i) {
        const std::string what =
            fmt::format("allocation {} of {}, request {}, {}", n, count, i, keep);
        if (got[i].error && (i != 4 || got[i].error->code() == ErrorCode::kOutOfMemory)) {
          ++errors;
          expect_beginning(got[i], whole[i], what);
        } else {
          expect_equal(got[i], whole[i], what);
        }
      }
    }
    EXPECT_LE(errors, runs);
    std::printf("%lld drafts: %lld allocations, %lld requests ended in %lld runs\n",
                static_cast<long long>(drafts), static_cast<long long>(count),
                static_cast<long long>(errors), static_cast<long long>(runs));
  }
}

// Forbids one token after another, in memory of its own.
class RollingMask : public TokenMask {
 public:
  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override {
    bits_[0] = bits_[1] = ~uint64_t{0};
    const size_t place = generated.size() % 90;
    bits_[place / 64] &= ~(uint64_t{1} << place % 64);
    return bits_;
  }

 private:
  std::array<uint64_t, 2> bits_{};
};

// Every kind of request, told apart by what it asks of the sampler.
GenerationRequest steady_request(int kind) {
  GenerationRequest r{.prompt = {1, 2, 3 + kind}, .new_tokens_max = 100};
  r.sampling.seed = 5;
  r.stream = static_cast<uint64_t>(kind);
  if (kind == 0) r.top_count = 2;
  if (kind == 1) r.sampling.temperature = 0;
  if (kind == 2) r.sampling.top_p = 0.9;
  if (kind == 3) r.sampling.repetition_penalty = 1.2;
  if (kind == 4) r.sampling.presence_penalty = 0.4;
  if (kind == 5) r.mask = std::make_shared<RollingMask>();
  if (kind == 6) r.sampling.logit_bias = {{3, 1.5}, {9, -2.0}};
  if (kind == 7) r.sampling.top_k = 5;
  return r;
}

int64_t steady_allocations(Model& model, const GeneratorOptions& options,
                           const std::vector<int>& kinds) {
  Generator generator(model.weights, options, model.stream);
  for (const int kind : kinds) generator.submit(steady_request(kind));
  for (int i = 0; i < 12; ++i) generator.step();
  {
    const Armed arm(-1);
    for (int i = 0; i < 12; ++i) generator.step();
  }
  return allocations;
}

TEST(Fault, ASteadyStepAllocatesNothing) {
  Model model(drafting_config());
  for (const auto& [drafts, length] :
       {std::pair(0, DraftLength::kFixed), {3, DraftLength::kFixed}, {3, DraftLength::kMeasured}}) {
    for (const bool keep : {false, true}) {
      GeneratorOptions o = with(drafts);
      o.draft_length = length;
      o.prefix.keep = keep;
      for (int kind = 0; kind < 8; ++kind)
        EXPECT_EQ(steady_allocations(model, o, {kind}), 0)
            << drafts << " drafts, request of kind " << kind << ", " << keep;
      EXPECT_EQ(steady_allocations(model, o, {0, 3, 4, 5, 6, 7}), 0) << drafts << " drafts, all";
    }
  }
}

// While a long prompt is read in chunks beside a sequence that decodes.
TEST(Fault, AStepThatReadsAPromptAllocatesNothing) {
  Model model(drafting_config());
  for (const int64_t drafts : {0, 3}) {
    GeneratorOptions o = with(drafts);
    o.context_tokens_max = 1024;
    Generator generator(model.weights, o, model.stream);
    generator.submit(steady_request(0));
    GenerationRequest long_one{.prompt = std::vector<int32_t>(900, 4), .new_tokens_max = 8};
    generator.submit(std::move(long_one));
    for (int i = 0; i < 12; ++i) generator.step();
    {
      const Armed arm(-1);
      for (int i = 0; i < 12; ++i) generator.step();
    }
    EXPECT_EQ(allocations, 0) << drafts << " drafts";
  }
}

TEST(Fault, RunThrowsTheErrorAndForgetsAll) {
  Model model;
  Generator generator(model.weights, kOptions, model.stream);
  std::vector<GenerationRequest> all = mixed_requests(9);
  const std::vector<Generation> whole = generator.run(all);
  all[3].mask = std::make_shared<BreakingMask>(1, BreakingMask::How::kThrows);
  EXPECT_THROW(generator.run(all), Error);
  EXPECT_EQ(generator.statistics().pages_used, 0);
  EXPECT_FALSE(generator.step());
  all[3].mask = nullptr;
  const std::vector<Generation> again = generator.run(all);
  for (size_t i = 0; i < all.size(); ++i) expect_equal(again[i], whole[i], "again");
}

}  // namespace
}  // namespace dure
