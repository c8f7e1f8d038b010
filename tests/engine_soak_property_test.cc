// Random requests of every kind, cancels, deadlines and faults from several threads against engines
// of random limits: what ends has the bits of the same request alone in a fresh engine, memory is
// flat between laps. `engine_soak_property_test --seconds 3600` for an hour (default 12 s);
// `--seed N`, `--log FILE`: a line a lap.
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "chat/answer_masks.h"
#include "engine/engine_thread.h"
#include "formats/config_fixture.h"
#include "grammar/grammar_fixture.h"
#include "model/parameters.h"
#include "tensor/cpu_stream.h"
#include "tensor/fenced_stream.h"

namespace {

// What this program holds from the allocator. The sanitizers bring operators of their own.
std::atomic<int64_t> g_blocks{0}, g_bytes{0};

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DURE_COUNTS_ALLOCATIONS 1
void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  ++g_blocks;
  g_bytes += static_cast<int64_t>(malloc_usable_size(memory));
  return memory;
}
void give_back(void* memory) {
  if (memory == nullptr) return;
  --g_blocks;
  g_bytes -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}
void* aligned(size_t bytes, std::align_val_t alignment) {
  const auto a = static_cast<size_t>(alignment);
  return counted(std::aligned_alloc(a, (std::max<size_t>(bytes, 1) + a - 1) / a * a));
}
#endif

}  // namespace

#ifdef DURE_COUNTS_ALLOCATIONS
// Not inlined, so that the compiler does not see a free() meet a new.
[[gnu::noinline]] void* operator new(size_t n) { return counted(std::malloc(n == 0 ? 1 : n)); }
[[gnu::noinline]] void* operator new(size_t n, std::align_val_t a) { return aligned(n, a); }
[[gnu::noinline]] void operator delete(void* p) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
[[gnu::noinline]] void operator delete(void* p, size_t, std::align_val_t) noexcept { give_back(p); }
#endif

namespace dure {
namespace {

using Clock = EngineThread::Clock;
using namespace std::chrono_literals;

struct SoakOptions {
  double seconds = 12;
  uint64_t seed = 1;
  std::string log_path;
};
SoakOptions g_options;

constexpr int64_t kContext = 420, kThreads = 4, kTextsMax = 48;

// Models of several windows, by a number; a drafting layer that is global or slides.
ModelConfig soak_config(int kind, int64_t vocab_size) {
  constexpr int64_t kWindows[] = {5, 64, 70}, kMtpWindows[] = {0, 4, 66};
  ModelConfig c = tiny_config(vocab_size, kWindows[kind]);
  c.hidden_size = 48;
  if (kind == 2) c.head_width = 32;  // wide enough for keys in 8 bits
  c.mtp_layer = kMtpWindows[kind] > 0 ? sliding_layer(c.mtp_layer, kMtpWindows[kind]) : c.mtp_layer;
  return c;
}
constexpr int kModelKinds = 3;

// Transfers that fail now and then.
class FailingStream : public FencedStream {
 public:
  FailingStream() : FencedStream(1) {}
  bool armed = false;

  void upload(const void* host, void* device, size_t bytes) override {
    perhaps_fail();
    FencedStream::upload(host, device, bytes);
  }
  void download(const void* device, void* host, size_t bytes) override {
    perhaps_fail();
    FencedStream::download(device, host, bytes);
  }

 private:
  void perhaps_fail() {
    if (armed && rng_.below(400) == 0) fail(ErrorCode::kIo, "a transfer failed");
  }
  Rng rng_{77};
};

struct Model {
  Parameters parameters;
  ModelWeights weights;
  Model(const ModelConfig& config, Stream& stream) : parameters(config, stream.device()) {
    parameters.initialise(11, stream);
    weights = bind_weights(parameters, stream);
  }
};

// What all laps share: models, on the CPU and behind a fence, and the words of their vocabulary.
struct World {
  SmallVocabulary vocabulary;
  CpuStream stream{2};
  FailingStream failing;
  std::vector<std::unique_ptr<Model>> models, fenced;

  World() {
    Rng rng(3);
    vocabulary = small_vocabulary(rng, 100);
    for (int kind = 0; kind < kModelKinds; ++kind) {
      const ModelConfig config = soak_config(kind, vocab_size());
      models.push_back(std::make_unique<Model>(config, stream));
      fenced.push_back(std::make_unique<Model>(config, failing));
    }
  }
  int64_t vocab_size() const { return std::ssize(vocabulary.texts); }
};

// Masks that break in their own ways once the answer has so many tokens.
enum class MaskKind : uint8_t { kNone, kForm, kThrows, kThrowsOther, kAllowsNothing, kTooShort };

class BreakingMask : public TokenMask {
 public:
  BreakingMask(MaskKind kind, size_t after, int64_t vocab_size)
      : kind_(kind), after_(after), none_(static_cast<size_t>((vocab_size + 63) / 64)) {}
  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override {
    if (generated.size() < after_) return {};
    if (kind_ == MaskKind::kThrows) fail(ErrorCode::kInvalidArgument, "this grammar ends here");
    if (kind_ == MaskKind::kThrowsOther) throw std::runtime_error("a fault of the mask");
    return std::span(none_).first(kind_ == MaskKind::kTooShort ? 1 : none_.size());
  }

 private:
  MaskKind kind_;
  size_t after_;
  std::vector<uint64_t> none_;
};

// The forms that answers may have, their caches shared by all requests of a lap.
class Forms {
 public:
  explicit Forms(const World& world) : world_(world) {
    add({.kind = AnswerKind::kPattern, .pattern = "([a-z]{1,9} ?){1,6}[.!]"});
    add({.kind = AnswerKind::kPattern, .pattern = "\\d{1,3}(-[\\dx]{2,5})*|\\p{L}+"});
    add({.kind = AnswerKind::kChoice, .choices = {"yes", "no", "perhaps", "\"한\"", "nobody"}});
    add({.kind = AnswerKind::kJsonObject});
    add({.kind = AnswerKind::kJsonSchema,
         .schema = parse_json(R"({"type": "object", "required": ["name", "ages"], "properties":
           {"name": {"type": "string", "maxLength": 20}, "ages": {"type": "array", "items":
           {"type": "integer", "minimum": 0, "maximum": 120}, "maxItems": 5},
           "kind": {"enum": ["a", "b", null, true]}}})",
                              "schema")});
  }
  size_t count() const { return grammars_.size(); }
  std::shared_ptr<TokenMask> shared(size_t form) const { return mask_of(caches_[form]); }
  // With nothing cached.
  std::shared_ptr<TokenMask> fresh(size_t form) const { return mask_of(cache_of(form)); }

 private:
  void add(const AnswerForm& form) {
    grammars_.push_back(std::make_shared<const Grammar>(answer_grammar(form).grammar));
    caches_.push_back(cache_of(grammars_.size() - 1));
  }
  std::shared_ptr<MaskCache> cache_of(size_t form) const {
    return std::make_shared<MaskCache>(grammars_[form], world_.vocabulary.tokens);
  }
  std::shared_ptr<TokenMask> mask_of(std::shared_ptr<MaskCache> cache) const {
    return std::make_shared<GrammarMask>(std::move(cache),
                                         std::vector<int32_t>{world_.vocabulary.stop});
  }
  const World& world_;
  std::vector<std::shared_ptr<const Grammar>> grammars_;
  std::vector<std::shared_ptr<MaskCache>> caches_;
};

struct Spec {
  GenerationRequest request;  // without its mask
  MaskKind mask = MaskKind::kNone;
  size_t form = 0, breaks_after = 0;
};

// Long prompts, or long answers that outgrow the pages.
struct Lengths {
  int64_t prompt_max = 280, answer_max = 80;
};

// Requests that go on from, part inside of, or repeat what was asked and answered before.
class Conversations {
 public:
  Conversations(const World& world, const Forms& forms, const Lengths& lengths, Rng rng)
      : world_(world), forms_(forms), lengths_(lengths), rng_(rng) {}

  Spec next() {
    Spec spec{.request = {.prompt = prompt()}};
    GenerationRequest& r = spec.request;
    r.new_tokens_max = one_in(4) ? rng_.between(1, 40) : rng_.between(1, lengths_.answer_max);
    r.new_tokens_min = one_in(6) ? rng_.between(0, r.new_tokens_max) : 0;
    r.stop_tokens = {world_.vocabulary.stop};
    if (one_in(3)) r.stop_tokens.push_back(static_cast<int32_t>(id()));
    if (one_in(8)) r.stop_tokens.clear();
    r.top_count = one_in(3) ? rng_.between(1, 6) : 0;
    r.stream = rng_.next_u64();
    r.prefix_salt = one_in(6) ? 1 : 0;
    choose_sampling(r.sampling);
    choose_mask(spec);
    return spec;
  }
  // n answers to one prompt.
  std::vector<Spec> group() {
    std::vector<Spec> out(static_cast<size_t>(rng_.between(2, 6)), next());
    for (Spec& one : out) one.request.stream = rng_.next_u64();
    return out;
  }
  void said(const GenerationRequest& request, const Generation& answer) {
    std::vector<int32_t> text = request.prompt;
    text.insert(text.end(), answer.tokens.begin(), answer.tokens.end());
    if (std::ssize(texts_) < kTextsMax) {
      texts_.push_back(std::move(text));
    } else {
      texts_[static_cast<size_t>(rng_.below(kTextsMax))] = std::move(text);
    }
  }
  Rng& rng() { return rng_; }
  bool one_in(int64_t n) { return rng_.below(n) == 0; }

 private:
  int64_t id() { return rng_.below(world_.vocab_size()); }

  // Three instructions that all callers share, then what was said, then more.
  std::vector<int32_t> prompt() {
    std::vector<int32_t> out;
    if (!texts_.empty() && !one_in(4)) {
      out = texts_[static_cast<size_t>(rng_.below(std::ssize(texts_)))];
      if (!one_in(3)) out.resize(static_cast<size_t>(rng_.below(std::ssize(out)) + 1));
    } else if (!one_in(5)) {
      const int64_t which = rng_.below(3);
      Rng shared(8, static_cast<uint64_t>(which));
      for (int64_t i = 0; i < 60 + 70 * which; ++i)
        out.push_back(static_cast<int32_t>(shared.below(world_.vocab_size())));
    }
    for (int64_t n = one_in(4) ? 0 : rng_.between(1, 90); n > 0; --n)
      out.push_back(static_cast<int32_t>(id()));
    if (out.empty()) out.push_back(5);
    if (std::ssize(out) > lengths_.prompt_max) out.resize(static_cast<size_t>(lengths_.prompt_max));
    return out;
  }

  void choose_sampling(SamplingOptions& s) {
    constexpr double kTemperatures[] = {0, 0.6, 1, 1, 1.5};
    s.seed = static_cast<uint64_t>(rng_.below(4));
    s.temperature = kTemperatures[rng_.below(5)];
    if (one_in(3)) s.top_p = 0.3 + 0.7 * rng_.uniform();
    if (one_in(4)) s.top_k = rng_.between(1, 50);
    if (one_in(5)) s.min_p = 0.2 * rng_.uniform();
    if (one_in(5)) s.repetition_penalty = 0.8 + 0.7 * rng_.uniform();
    if (one_in(6)) s.presence_penalty = 2 * rng_.uniform() - 0.5;
    if (one_in(6)) s.frequency_penalty = rng_.uniform();
    if (one_in(6)) {
      for (int64_t n = rng_.between(1, 4); n > 0; --n)
        s.logit_bias.push_back({static_cast<int32_t>(id()), 8 * rng_.uniform() - 4});
    }
    if (one_in(9))
      s.logit_bias.push_back(
          {static_cast<int32_t>(id()), -std::numeric_limits<double>::infinity()});
    if (one_in(40)) s.logit_bias = {{3, 3e38}, {3, 3e38}};  // Infinite once it is used.
  }

  void choose_mask(Spec& spec) {
    if (one_in(3)) {
      spec.mask = MaskKind::kForm;
      spec.form = static_cast<size_t>(rng_.below(static_cast<int64_t>(forms_.count())));
    } else if (one_in(12)) {
      spec.mask = static_cast<MaskKind>(rng_.between(2, 5));
      spec.breaks_after = static_cast<size_t>(rng_.below(12));
    }
  }

  const World& world_;
  const Forms& forms_;
  const Lengths lengths_;
  Rng rng_;
  std::vector<std::vector<int32_t>> texts_;
};

// An engine's limits; the model it runs.
struct Setting {
  int model = 0;
  bool fenced = false;
  Lengths lengths;
  EngineThreadOptions engine;

  std::string text() const {
    const GeneratorOptions& o = engine.generator;
    return fmt::format(
        "model {}{}, {} sequences, {} rows, chunks of {}, {} pages, kv {}, {} drafts, prefixes {} "
        "({} bytes, stride {})",
        model, fenced ? " behind a fence" : "", o.sequences_max, o.batch_rows_max,
        o.chunk_tokens_max, o.page_count, dtype_info(o.kv_dtype).name, o.draft_tokens_max,
        o.prefix.keep, o.prefix.bytes_max, o.prefix.stride_tokens);
  }
};

Setting random_setting(Rng& rng) {
  constexpr int64_t kDrafts[] = {0, 0, 1, 3}, kStrides[] = {32, 64, 100};
  Setting s{.model = static_cast<int>(rng.below(kModelKinds)), .fenced = rng.below(6) == 0};
  if (rng.below(2) == 0) s.lengths = {.prompt_max = 120, .answer_max = 290};
  GeneratorOptions& o = s.engine.generator;
  o.sequences_max = rng.between(2, 12);
  o.context_tokens_max = kContext;
  o.draft_tokens_max = kDrafts[rng.below(4)];
  o.batch_rows_max = o.sequences_max * (1 + o.draft_tokens_max) + rng.between(0, 90);
  o.chunk_tokens_max = rng.between(3, 80);
  o.page_count = rng.below(5) == 0 ? 0 : rng.between(7, 13);
  constexpr DType kSmaller[] = {DType::kBF16, DType::kF16, DType::kQ8_0};
  if (rng.below(3) == 0) o.kv_dtype = kSmaller[rng.below(s.model == 2 ? 3 : 2)];
  o.prefix = {.keep = rng.below(4) > 0,
              .bytes_max = rng.below(2) == 0 ? 0 : int64_t{4} << 20,
              .stride_tokens = kStrides[rng.below(3)],
              .tokens_min = rng.between(2, 20)};
  s.engine.waiting_requests_max = rng.between(0, 12);
  s.engine.waiting_tokens_max = rng.between(300, 2000);
  return s;
}

// What one request hears.
class Ear {
 public:
  std::atomic<bool> cancelled{false};  // by somebody else
  bool late = false;                   // has a deadline
  int64_t breaks_after = -1;           // events, then it throws

  void hear(const TokenEvent& e) {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_FALSE(ended_) << "heard after the end";
    if (breaks_after >= 0 && ++events_ > breaks_after) {
      end(FinishReason::kCancelled);
      throw std::runtime_error("a reader is gone");
    }
    if (e.token) {
      EXPECT_EQ(e.index, std::ssize(heard_.tokens));
      heard_.tokens.push_back(*e.token);
      heard_.log_probabilities.push_back(e.log_probability);
      heard_.top.insert(heard_.top.end(), e.top.begin(), e.top.end());
    }
    EXPECT_EQ(e.error != nullptr, e.finish == FinishReason::kError);
    if (e.error != nullptr) heard_.error.emplace(*e.error);
    if (e.finish != FinishReason::kRunning) end(e.finish);
  }
  const Generation& wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    EXPECT_TRUE(end_heard_.wait_for(lock, 10min, [&] { return ended_; })) << "never ended";
    return heard_;
  }

 private:
  void end(FinishReason why) {
    heard_.finish = why;
    ended_ = true;
    end_heard_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable end_heard_;
  Generation heard_;
  bool ended_ = false;
  int64_t events_ = 0;
};

struct Counts {
  int64_t compared = 0, broken_off = 0, errors = 0, refused = 0, busy = 0, tokens = 0;
  void add(const Counts& other) {
    compared += other.compared;
    broken_off += other.broken_off;
    errors += other.errors;
    refused += other.refused;
    busy += other.busy;
    tokens += other.tokens;
  }
};

// Cancels what it is handed, late and in any order, and now and then what has ended or never was.
class Canceller {
 public:
  Canceller(EngineThread& engine, Rng rng)
      : engine_(engine), rng_(rng), thread_([this] { run(); }) {}
  ~Canceller() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    thread_.join();
  }
  void hand(EngineThread::Ticket ticket, std::shared_ptr<Ear> ear) {
    const std::lock_guard<std::mutex> lock(mutex_);
    handed_.push_back({ticket, std::move(ear)});
  }

 private:
  struct Handed {
    EngineThread::Ticket ticket = 0;
    std::shared_ptr<Ear> ear;
  };
  bool next(Handed& out) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!handed_.empty()) {
      std::swap(handed_[static_cast<size_t>(rng_.below(std::ssize(handed_)))], handed_.back());
      out = std::move(handed_.back());
      handed_.pop_back();
    }
    return !over_;
  }
  void run() {
    Handed one;
    while (next(one)) {
      std::this_thread::sleep_for(std::chrono::microseconds(rng_.below(4000)));
      EXPECT_GE(engine_.statistics().submitted, 0);
      if (one.ear != nullptr || rng_.below(4) == 0) {
        if (one.ear != nullptr) one.ear->cancelled = true;
        engine_.cancel(one.ticket);
      }
      one.ear = nullptr;  // Its ticket may be cancelled once more.
    }
  }
  EngineThread& engine_;
  Rng rng_;
  std::mutex mutex_;
  std::vector<Handed> handed_;
  bool over_ = false;
  std::thread thread_;
};

// One thread of a turn: asks at random, waits, and compares with each request alone.
class Caller {
 public:
  Caller(World& world, const Forms& forms, const Setting& setting, EngineThread& engine,
         Canceller& canceller, Rng rng)
      : world_(world),
        forms_(forms),
        setting_(setting),
        engine_(engine),
        canceller_(canceller),
        conversations_(world, forms, setting.lengths, rng) {}
  Counts counts;

  void work(Clock::time_point until) {
    while (Clock::now() < until && !::testing::Test::HasFailure()) {
      std::vector<Asked> asked;
      for (int64_t n = rng().between(1, 4); n > 0; --n) {
        const bool group = conversations_.one_in(4);
        for (Spec& spec : group ? conversations_.group() : std::vector{conversations_.next()})
          ask(std::move(spec), asked);
        if (conversations_.one_in(4)) ask_wrongly();
      }
      for (const Asked& one : asked) settle(one);
    }
  }

 private:
  struct Asked {
    Spec spec;
    std::shared_ptr<Ear> ear = std::make_shared<Ear>();
  };
  Rng& rng() { return conversations_.rng(); }

  GenerationRequest with_mask(const Spec& spec, bool alone) {
    GenerationRequest request = spec.request;
    if (spec.mask == MaskKind::kForm) {
      const bool fresh = alone && conversations_.one_in(8);
      request.mask = fresh ? forms_.fresh(spec.form) : forms_.shared(spec.form);
    } else if (spec.mask != MaskKind::kNone) {
      request.mask =
          std::make_shared<BreakingMask>(spec.mask, spec.breaks_after, world_.vocab_size());
    }
    return request;
  }

  void ask(Spec spec, std::vector<Asked>& asked) {
    Asked one{.spec = std::move(spec)};
    std::optional<Clock::time_point> deadline;
    const int64_t fate = rng().below(16);
    one.ear->late = fate == 0;
    if (fate == 0) deadline = Clock::now() + std::chrono::microseconds(rng().below(30000));
    if (fate == 1) one.ear->breaks_after = rng().below(10);
    try {
      const EngineThread::Ticket ticket = engine_.submit(
          with_mask(one.spec, false), [ear = one.ear](const TokenEvent& e) { ear->hear(e); },
          deadline);
      if (fate >= 2 && fate < 5) canceller_.hand(ticket, one.ear);
      asked.push_back(std::move(one));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBusy) << error.what();
      ++counts.busy;
      std::this_thread::sleep_for(std::chrono::microseconds(rng().below(2000)));
    }
  }

  void spoil(GenerationRequest& r) {
    switch (rng().below(8)) {
      case 0:
        r.sampling.logit_bias = {{2, std::numeric_limits<double>::quiet_NaN()}};
        break;
      case 1:
        r.sampling.top_p = 0;
        break;
      case 2:
        r.sampling.temperature = -1;
        break;
      case 3:
        r.prompt.back() = static_cast<int32_t>(world_.vocab_size());
        break;
      case 4:
        r.prompt.clear();
        break;
      case 5:
        r.new_tokens_max = kContext;
        break;
      case 6:
        r.sampling.logit_bias = {{-1, 1.0}};
        break;
      default:
        r.top_count = GenerationRequest::kTopCountMax + 1;
    }
  }

  void ask_wrongly() {
    Spec spec = conversations_.next();
    spoil(spec.request);
    try {
      engine_.submit(spec.request, [](const TokenEvent&) {});
      ADD_FAILURE() << "a wrong request was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      ++counts.refused;
    }
  }

  // In an engine of its own, that has never run another; drafts and the type of keys and values are
  // conditions of the request, all else is as it comes.
  Generation alone(const Spec& spec) {
    const GeneratorOptions& with = setting_.engine.generator;
    const GeneratorOptions o{.sequences_max = 1,
                             .context_tokens_max = kContext,
                             .batch_rows_max = 1 + with.draft_tokens_max + rng().between(0, 100),
                             .chunk_tokens_max = rng().between(1, 100),
                             .kv_dtype = with.kv_dtype,
                             .draft_tokens_max = with.draft_tokens_max};
    Generator fresh(world_.models[static_cast<size_t>(setting_.model)]->weights, o, stream_);
    const int64_t id = fresh.submit(with_mask(spec, true));
    while (fresh.step()) {
    }
    return fresh.take(id);
  }

  void settle(const Asked& one) {
    const Generation& got = one.ear->wait();
    const Generation wanted = alone(one.spec);
    conversations_.said(one.spec.request, wanted);
    counts.tokens += std::ssize(got.tokens);
    expect_beginning(got, wanted, one.spec);
    if (got.finish == FinishReason::kCancelled) {
      ++counts.broken_off;
      EXPECT_TRUE(one.ear->cancelled || one.ear->breaks_after >= 0);
    } else if (got.finish == FinishReason::kDeadline) {
      ++counts.broken_off;
      EXPECT_TRUE(one.ear->late);
    } else if (setting_.fenced && got.error && got.error->code() == ErrorCode::kIo) {
      ++counts.errors;
    } else {
      ++counts.compared;
      counts.errors += got.error ? 1 : 0;
      expect_whole(got, wanted, one.spec);
    }
  }

  void expect_beginning(const Generation& got, const Generation& wanted, const Spec& spec) {
    const size_t n = got.tokens.size();
    ASSERT_LE(n, wanted.tokens.size()) << describe(spec);
    const auto begins = [](const auto& part, const auto& whole) {
      return std::equal(part.begin(), part.end(), whole.begin());
    };
    ASSERT_TRUE(begins(got.tokens, wanted.tokens)) << describe(spec);
    ASSERT_TRUE(begins(got.log_probabilities, wanted.log_probabilities)) << describe(spec);
    const auto width = static_cast<size_t>(spec.request.top_count);
    ASSERT_EQ(got.top.size(), n * width) << describe(spec);
    for (size_t i = 0; i < got.top.size(); ++i) {
      ASSERT_EQ(got.top[i].token, wanted.top[i].token) << describe(spec);
      ASSERT_EQ(got.top[i].log_probability, wanted.top[i].log_probability) << describe(spec);
    }
  }
  void expect_whole(const Generation& got, const Generation& wanted, const Spec& spec) {
    ASSERT_EQ(got.finish, wanted.finish) << describe(spec);
    ASSERT_EQ(got.tokens.size(), wanted.tokens.size()) << describe(spec);
    ASSERT_EQ(got.error.has_value(), wanted.error.has_value()) << describe(spec);
    if (got.error) {
      EXPECT_STREQ(got.error->what(), wanted.error->what()) << describe(spec);
    }
  }
  std::string describe(const Spec& spec) const {
    const GenerationRequest& r = spec.request;
    return fmt::format("{}; prompt of {}, {} to {} new, stream {}, seed {}, T {}, mask {} {} {}",
                       setting_.text(), r.prompt.size(), r.new_tokens_min, r.new_tokens_max,
                       r.stream, r.sampling.seed, r.sampling.temperature,
                       static_cast<int>(spec.mask), spec.form, spec.breaks_after);
  }

  World& world_;
  const Forms& forms_;
  const Setting& setting_;
  EngineThread& engine_;
  Canceller& canceller_;
  Conversations conversations_;
  CpuStream stream_{1};
};

void expect_quiet(const EngineThread& engine, const std::string& what) {
  const EngineStatistics s = engine.statistics();
  EXPECT_EQ(s.generator.running + s.waiting + s.waiting_tokens + s.generator.pages_used, 0) << what;
  int64_t finished = 0;
  for (const int64_t n : s.finished) finished += n;
  EXPECT_EQ(finished, s.submitted) << what;
}

// What one engine did, added up.
struct EngineCounts {
  int64_t submitted = 0, steps = 0, preemptions = 0, faults = 0, hits = 0, evictions = 0, waits = 0,
          drafted = 0, accepted = 0, engines = 0;
  void add(const EngineStatistics& s) {
    ++engines;
    submitted += s.submitted;
    steps += s.generator.steps;
    preemptions += s.generator.preemptions;
    faults += s.generator.faults;
    hits += s.generator.prefix_hits;
    evictions += s.generator.prefix_evictions;
    waits += s.generator.prefix_waits;
    drafted += s.generator.drafted;
    accepted += s.generator.accepted;
  }
};

struct Memory {
  int64_t resident_bytes = 0, blocks = 0, bytes = 0;
};
Memory memory_now() {
  std::ifstream in("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  in >> pages >> resident;
  return {resident * ::sysconf(_SC_PAGESIZE), g_blocks, g_bytes};
}

class Soak {
 public:
  void run() {
    const Clock::time_point start = Clock::now();
    const auto elapsed = [&] {
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    memory_.reserve(100'000);
    choose_old_setting();
    // Of a lap nothing stays but what grows to its size once: threads' scratch.
    const auto lap_of_new_engines = [&] {
      EngineThread old_engine(weights(old_setting_), old_setting_.engine, world_.stream);
      lap(old_engine);
    };
    lap_of_new_engines();
    const Memory first = memory_now();
    {
      EngineThread old_engine(weights(old_setting_), old_setting_.engine, world_.stream);
      do {
        lap(old_engine);
        memory_.push_back(memory_now());
        report(elapsed());
      } while (elapsed() < g_options.seconds && !::testing::Test::HasFailure());
      old_engine.drain();
      total_.add(old_engine.statistics());
    }
    expect_work();
    expect_flat_memory(first, memory_now());
  }

 private:
  static constexpr int kTurnsALap = 4;
  // Long enough for pages to run out; short enough for a test of seconds.
  static std::chrono::milliseconds turn_time() {
    return std::chrono::milliseconds(g_options.seconds > 120 ? 2500 : 500);
  }
  // The longest-lived engine keeps prefixes.
  void choose_old_setting() {
    Rng rng(g_options.seed);
    old_setting_ = random_setting(rng);
    old_setting_.fenced = false;
    old_setting_.engine.generator.prefix.keep = true;
  }
  const ModelWeights& weights(const Setting& s) const {
    return (s.fenced ? world_.fenced : world_.models)[static_cast<size_t>(s.model)]->weights;
  }

  void lap(EngineThread& old_engine) {
    const Forms forms(world_);
    turn(old_setting_, old_engine, forms);
    Rng rng(g_options.seed, stream_id("lap", laps_));
    for (int t = 0; t < kTurnsALap && !::testing::Test::HasFailure(); ++t) {
      const Setting setting = random_setting(rng);
      Stream& stream = setting.fenced ? static_cast<Stream&>(world_.failing) : world_.stream;
      EngineThread engine(weights(setting), setting.engine, stream);
      turn(setting, engine, forms);
      engine.drain();
      total_.add(engine.statistics());
    }
    ++laps_;
  }

  void turn(const Setting& setting, EngineThread& engine, const Forms& forms) {
    const Clock::time_point until = Clock::now() + turn_time();
    world_.failing.armed = setting.fenced;
    {
      Canceller canceller(engine, Rng(g_options.seed, stream_id("cancel", turns_)));
      std::vector<std::unique_ptr<Caller>> callers;
      std::vector<std::thread> threads;
      for (uint64_t t = 0; t < kThreads; ++t) {
        const Rng rng(g_options.seed, stream_id("caller", turns_, t));
        callers.push_back(std::make_unique<Caller>(world_, forms, setting, engine, canceller, rng));
        threads.emplace_back([caller = callers.back().get(), until] { caller->work(until); });
      }
      for (std::thread& thread : threads) thread.join();
      for (const auto& caller : callers) counts_.add(caller->counts);
    }
    world_.failing.armed = false;
    ++turns_;
    wait_until_quiet(engine);
    expect_quiet(engine, setting.text());
  }

  // A sink that threw heard no end; what it asked for ends a step later.
  static void wait_until_quiet(const EngineThread& engine) {
    for (int i = 0; i < 2000; ++i) {
      const EngineStatistics s = engine.statistics();
      if (s.generator.running + s.waiting == 0) return;
      std::this_thread::sleep_for(1ms);
    }
  }

  void report(double seconds) {
    if (g_options.log_path.empty()) return;
    const Memory& m = memory_.back();
    std::ofstream log(g_options.log_path, std::ios::app);
    log << fmt::format("{:.0f} {} {} {} {} {} {} {} {} {:.3f} {} {:.3f}\n", seconds, laps_,
                       counts_.compared, counts_.broken_off, counts_.errors, counts_.refused,
                       counts_.busy, counts_.tokens, total_.preemptions,
                       static_cast<double>(m.resident_bytes) / (1 << 20), m.blocks,
                       static_cast<double>(m.bytes) / (1 << 20));
  }

  void expect_work() const {
    std::printf(
        "soak: %lld laps, %lld engines; compared %lld, broken off %lld, errors %lld, refused %lld, "
        "busy %lld, %lld tokens\n",
        static_cast<long long>(laps_), static_cast<long long>(total_.engines),
        static_cast<long long>(counts_.compared), static_cast<long long>(counts_.broken_off),
        static_cast<long long>(counts_.errors), static_cast<long long>(counts_.refused),
        static_cast<long long>(counts_.busy), static_cast<long long>(counts_.tokens));
    std::printf(
        "soak: %lld submitted, %lld steps, %lld preemptions, %lld faults, %lld prefix hits, %lld "
        "evictions, %lld waits, %lld drafts (%lld stood)\n",
        static_cast<long long>(total_.submitted), static_cast<long long>(total_.steps),
        static_cast<long long>(total_.preemptions), static_cast<long long>(total_.faults),
        static_cast<long long>(total_.hits), static_cast<long long>(total_.evictions),
        static_cast<long long>(total_.waits), static_cast<long long>(total_.drafted),
        static_cast<long long>(total_.accepted));
    EXPECT_GT(counts_.compared, 20);
    EXPECT_GT(counts_.broken_off, 0);
    EXPECT_GT(counts_.errors, 0);
    EXPECT_GT(counts_.refused, 0);
  }

  // What the allocator gave is given back, but for a few blocks of lists that outlive a lap.
  // Resident memory: the mean of the last quarter against that of the second one, when what lives
  // long (the old engine's prefixes, the allocator's arenas) has its size.
  void expect_flat_memory(const Memory& first, const Memory& last) const {
    const size_t n = memory_.size();
    std::printf(
        "soak: allocated %lld blocks, %lld bytes after the first lap; %lld, %lld at the end; "
        "resident %.1f MiB, %.1f\n",
        static_cast<long long>(first.blocks), static_cast<long long>(first.bytes),
        static_cast<long long>(last.blocks), static_cast<long long>(last.bytes),
        static_cast<double>(first.resident_bytes) / (1 << 20),
        static_cast<double>(last.resident_bytes) / (1 << 20));
    EXPECT_LE(last.blocks, first.blocks + 16);
    EXPECT_LE(last.bytes, first.bytes + (128 << 10));
    if (n < 8) return;
    const auto mean = [&](size_t first, size_t last, int64_t Memory::*what) {
      double sum = 0;
      for (size_t i = first; i < last; ++i) sum += static_cast<double>(memory_[i].*what);
      return sum / static_cast<double>(last - first);
    };
    for (int64_t Memory::*what : {&Memory::resident_bytes, &Memory::bytes}) {
      const double before = mean(n / 4, n / 2, what), after = mean(n - n / 4, n, what);
      EXPECT_LT(after, before * 1.02 + (1 << 20));
    }
  }

  World world_;
  Setting old_setting_;
  Counts counts_;
  EngineCounts total_;
  std::vector<Memory> memory_;  // after each lap
  uint64_t laps_ = 0, turns_ = 0;
};

TEST(EngineSoak, BitsAreThoseOfEachRequestAlone) { Soak().run(); }

}  // namespace

void read_soak_options(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--seconds") g_options.seconds = std::atof(argv[i + 1]);
    if (name == "--seed") g_options.seed = static_cast<uint64_t>(std::atoll(argv[i + 1]));
    if (name == "--log") g_options.log_path = argv[i + 1];
  }
}

}  // namespace dure

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  dure::read_soak_options(argc, argv);
  dure::set_log_level(dure::LogLevel::kError);  // Readers that are gone are part of it.
  return RUN_ALL_TESTS();
}
