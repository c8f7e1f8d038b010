// Each test has a generator of its own, sized for it. Which forwards are timed is counted in steps:
// a prompt alone is fed in whole batches, and a decoding sequence takes one row a step.
#include "engine/throughput.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Forwards until every sequence has filled its depth: the last one's prompt shares rows with those
// that decode already.
int64_t fill_steps_max(const ThroughputTest& test, const ThroughputOptions& o) {
  return 1 +
         ceil_div(test.sequence_count * test.depth_tokens, o.batch_rows - test.sequence_count + 1);
}

// Tokens that a sequence of a generation test may be asked for, so that none ends by itself.
int64_t room(const ThroughputTest& test, const ThroughputOptions& o) {
  return (test.new_tokens * o.repetitions + fill_steps_max(test, o)) + 1 +
         test.draft_tokens_max * (test.new_tokens + 1) * o.repetitions;
}

GeneratorOptions generator_options(const ThroughputTest& test, const ThroughputOptions& o) {
  const int64_t behind = test.prompt_tokens > 0 ? test.prompt_tokens + 1 : 1 + room(test, o);
  return {
      .sequences_max = test.sequence_count,
      .context_tokens_max = test.depth_tokens + behind,
      .batch_rows_max = std::max(o.batch_rows, test.sequence_count * (1 + test.draft_tokens_max)),
      .chunk_tokens_max = o.batch_rows,
      .kv_dtype = o.kv_dtype,
      .draft_tokens_max = test.draft_tokens_max,
      .drafter = test.drafter,
      .draft_length = test.draft_length};
}

class Measurement {
 public:
  Measurement(const ModelWeights& weights, const ThroughputTest& test,
              const ThroughputOptions& options, Stream& stream,
              const std::function<void(int64_t)>& progress)
      : weights_(weights),
        test_(test),
        options_(options),
        progress_(progress),
        generator_(weights, generator_options(test, options), stream),
        ids_(options.seed, stream_id("throughput")) {}

  Throughput run() {
    const InterruptScope scope;
    Throughput out;
    if (test_.prompt_tokens > 0) {
      prompt_ns(0);
      for (int64_t r = 0; r < options_.repetitions; ++r)
        out.samples_ns.push_back(prompt_ns(test_.depth_tokens));
      out.work = prompt_work();
    } else {
      generate(0, 1);
      const Generator::DraftCounts before = generator_.draft_counts();
      out.samples_ns = generation_samples();
      out.drafted = generator_.draft_counts().drafted - before.drafted;
      out.accepted = generator_.draft_counts().accepted - before.accepted;
      out.work = generation_work();
    }
    return out;
  }

 private:
  void submit(int64_t prompt_tokens, int64_t new_tokens_max) {
    GenerationRequest request{.new_tokens_max = new_tokens_max};
    request.sampling.temperature = 0;
    for (int64_t i = 0; i < prompt_tokens; ++i)
      request.prompt.push_back(static_cast<int32_t>(ids_.below(weights_.config.vocab_size)));
    running_.push_back(generator_.submit(std::move(request)));
  }

  void step(int64_t rows) {
    throw_if_interrupted("the tests printed so far are complete");
    const bool stepped = generator_.step();
    DURE_CHECK(stepped, "a sequence ended early");
    for (const TokenEvent& event : generator_.events()) {
      if (event.error != nullptr) throw Error(*event.error);
    }
    fed_ += rows;
    progress_(fed_);
  }

  int64_t timed_steps(int64_t count, int64_t rows) {
    const auto start = Clock::now();
    for (int64_t i = 0; i < count; ++i) step(rows);
    return std::chrono::nanoseconds(Clock::now() - start).count();
  }

  // Until all sequences together have so many tokens.
  int64_t timed_tokens(int64_t wanted) {
    const auto start = Clock::now();
    int64_t tokens = 0;
    while (tokens < wanted) {
      step(0);
      tokens += std::ssize(generator_.events());
      fed_ += std::min(wanted, tokens) - std::min(wanted, tokens - std::ssize(generator_.events()));
    }
    const std::chrono::nanoseconds taken = Clock::now() - start;
    return taken.count() * wanted / tokens;
  }

  int64_t generation_ns() {
    if (test_.draft_tokens_max == 0) return timed_steps(test_.new_tokens, test_.sequence_count);
    return timed_tokens(test_.tokens());
  }

  void forget() {
    for (const int64_t id : running_) {
      generator_.cancel(id);
      generator_.take(id);
    }
    running_.clear();
  }

  int64_t prompt_ns(int64_t depth) {
    const int64_t batch = options_.batch_rows, count = ceil_div(test_.prompt_tokens, batch);
    submit(depth + test_.prompt_tokens, 1);
    for (int64_t i = 0; i < depth / batch; ++i) step(batch);
    const int64_t ns = timed_steps(count, ceil_div(test_.prompt_tokens, count));
    DURE_CHECK(generator_.running_count() == 0, "the prompt is not through");
    forget();
    return ns;
  }

  // Until the newest token of every sequence is the first one behind its depth, or a later one.
  void fill_depth() {
    const int64_t batch = options_.batch_rows, sequences = test_.sequence_count;
    for (int64_t started = 0; started < sequences;) {
      step(std::min(batch, sequences * test_.depth_tokens));
      started = std::max(started, std::ssize(generator_.events()));
    }
  }

  // A depth of 0 begins with one random id, which is the first row that is timed.
  std::vector<int64_t> generate(int64_t depth, int64_t repetitions) {
    for (int64_t s = 0; s < test_.sequence_count; ++s)
      submit(std::max<int64_t>(1, depth), room(test_, options_));
    if (depth > 0) fill_depth();
    std::vector<int64_t> samples;
    for (int64_t r = 0; r < repetitions; ++r) samples.push_back(generation_ns());
    forget();
    return samples;
  }

  std::vector<int64_t> generation_samples() {
    if (test_.depth_tokens > 0) return generate(test_.depth_tokens, options_.repetitions);
    std::vector<int64_t> samples;
    for (int64_t r = 0; r < options_.repetitions; ++r) samples.push_back(generate(0, 1)[0]);
    return samples;
  }

  Work prompt_work() const {
    Work out;
    for (int64_t at = 0; at < test_.prompt_tokens; at += options_.batch_rows) {
      const int64_t count = std::min(options_.batch_rows, test_.prompt_tokens - at);
      out.add(forward_work(weights_, {.rows_each = count,
                                      .first_position = test_.depth_tokens + at,
                                      .head_rows = at + count == test_.prompt_tokens ? 1 : 0,
                                      .kv_dtype = options_.kv_dtype}));
    }
    return out;
  }

  Work generation_work() const {
    Work out;
    for (int64_t i = 0; i < test_.new_tokens; ++i)
      out.add(forward_work(weights_, {.sequence_count = test_.sequence_count,
                                      .first_position = test_.depth_tokens + i,
                                      .head_rows = test_.sequence_count,
                                      .kv_dtype = options_.kv_dtype}));
    return out;
  }

  const ModelWeights& weights_;
  const ThroughputTest& test_;
  const ThroughputOptions& options_;
  const std::function<void(int64_t)>& progress_;
  Generator generator_;
  Rng ids_;
  std::vector<int64_t> running_;
  int64_t fed_ = 0;
};

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double middle = mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - middle) * (v - middle);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void summarise(const ThroughputTest& test, Throughput& out) {
  const std::vector<double> ns(out.samples_ns.begin(), out.samples_ns.end());
  for (const double sample : ns)
    out.samples_ts.push_back(1e9 * static_cast<double>(test.tokens()) / sample);
  out.mean_ns = mean(ns);
  out.deviation_ns = deviation(ns);
  out.mean_ts = mean(out.samples_ts);
  out.deviation_ts = deviation(out.samples_ts);
  out.median_ts = median(out.samples_ts);
}

}  // namespace

std::string ThroughputTest::name() const {
  std::string out =
      prompt_tokens > 0 ? fmt::format("pp{}", prompt_tokens) : fmt::format("tg{}", new_tokens);
  if (sequence_count > 1) out += fmt::format(" x{}", sequence_count);
  if (draft_tokens_max > 0) {
    out += fmt::format(
        " + {} {}",
        draft_length == DraftLength::kMeasured ? "auto" : std::to_string(draft_tokens_max),
        name_of(drafter));
  }
  return depth_tokens > 0 ? fmt::format("{} @ d{}", out, depth_tokens) : out;
}

void check_test(const ModelConfig& config, const ThroughputTest& test,
                const ThroughputOptions& options) {
  const int64_t reach =
      test.depth_tokens + (test.prompt_tokens > 0 ? test.prompt_tokens : test.new_tokens);
  if (reach > config.context_tokens)
    fail(ErrorCode::kInvalidArgument, "{}: {} tokens, the model's context is {}", test.name(),
         reach, config.context_tokens);
  if (test.sequence_count > options.batch_rows)
    fail(ErrorCode::kInvalidArgument,
         "{}: {} sequences need as many rows of a forward, there are "
         "{}; raise --batch",
         test.name(), test.sequence_count, options.batch_rows);
  if (test.draft_tokens_max > 0 && test.drafter == DrafterChoice::kMtp &&
      config.mtp_layer_count == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: the model has no MTP layer to draft with; --drafter ngram needs none", test.name());
  }
  if (test.prompt_tokens > 0 && test.depth_tokens % options.batch_rows != 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: the depth of a prompt test should be a multiple of --batch ({}); -p 0 leaves prompt "
         "tests away",
         test.name(), options.batch_rows);
}

int64_t throughput_rows(const ThroughputTest& test, const ThroughputOptions& options) {
  const int64_t timed = (1 + options.repetitions) * test.tokens();
  const int64_t fills = test.prompt_tokens > 0 ? options.repetitions : 1;
  return timed + fills * test.depth_tokens * test.sequence_count;
}

Throughput measure_throughput(const ModelWeights& weights, const ThroughputTest& test,
                              const ThroughputOptions& options, Stream& stream,
                              const std::function<void(int64_t)>& progress) {
  check_test(weights.config, test, options);
  Throughput out = Measurement(weights, test, options, stream, progress).run();
  summarise(test, out);
  return out;
}

}  // namespace dure
