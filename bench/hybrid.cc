// What do sliding windows save? Models of the same shapes, one with its real pattern (three layers
// of four see a window), one with every layer global: operations and bytes counted, times measured.
//
//   bench_hybrid engine REAL.gguf GLOBAL.gguf [ROWS [DEPTHS [DECODED]]]   (256 rows;
//   0,8192,32768,131072,262144; 4 tokens)
//   bench_hybrid training [TOKENS [STEPS]]           (one document of 8192 tokens; 1 step)
//   bench_hybrid report OUT.svg [RESULTS.jsonl...]   (tables of what was counted and measured)
//
// The first two print a line of JSON for each measurement. `engine`: a chunk of ROWS of a prompt,
// and single tokens with their logits, behind each depth, whose keys and values are random and were
// put there, not computed; the two models in turn. A whole prompt's time is the sum over its
// chunks: a chunk's time is a straight line in its depth between two measured ones.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "bench_main.h"
#include "cli/kv_type_flag.h"
#include "eval/chart_file.h"
#include "filled_kv.h"
#include "formats/config_fixture.h"
#include "formats/model_files.h"
#include "formats/tensor_names.h"
#include "model/load.h"
#include "model/model.h"
#include "model/operations.h"
#include "tensor/cpu_stream.h"
#include "timing.h"
#include "train/learner.h"

namespace dure {
namespace {

constexpr int64_t kLengths[] = {8192, 32768, 131072, 262144};

ModelConfig every_layer_global(ModelConfig c) {
  for (LayerFacts& layer : c.layers) layer = global_layer(layer);
  return c;
}

void print_line(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

// --- engine ---

// One model, one sequence of it.
class Subject {
 public:
  Subject(const std::string& path, int64_t rows, int64_t positions, Stream& stream)
      : weights_(open_weights(std::make_shared<const ModelFiles>(find_model(path)),
                              Arithmetic::kInteger8)),
        stream_(stream),
        rows_(rows),
        cache_(weights_.config,
               {.context_tokens_max = positions,
                .append_tokens_max = rows,
                .dtype = KvTypeFlag().wanted(arithmetic_in(weights_))},
               stream),
        kv_(cache_),
        filler_(weights_.config, cache_, stream),
        slot_(cache_.open()) {
    Arena plan;
    Activations(weights_.config, {.rows_max = rows}, plan);
    plan.take_f32({1, weights_.config.vocab_size});
    arena_ = Arena(plan.used_bytes(), stream.device());
    activations_.emplace(weights_.config, ActivationOptions{.rows_max = rows}, arena_);
    logits_ = arena_.take_f32({1, weights_.config.vocab_size});
  }

  void fill(int64_t positions) {
    DURE_CHECK(filler_.fill(slot_, positions), "{} positions", positions);
  }

  // Seconds of one forward of `count` rows, with the logits of the last where `with_logits`.
  enum class Logits : uint8_t { kNone, kOfLast };
  double forward_s(int64_t count, Logits logits) {
    const double start = now_s();
    const int64_t at = cache_.length(slot_);
    DURE_CHECK(cache_.reserve(slot_, count), "{} rows at {}", count, at);
    ids_.clear();
    positions_.clear();
    for (int64_t i = 0; i < count; ++i) {
      ids_.push_back(
          static_cast<int32_t>(rng_.below(static_cast<uint64_t>(weights_.config.vocab_size))));
      positions_.push_back(static_cast<int32_t>(at + i));
    }
    const BatchKv::Run run{.slot = slot_, .row_count = count, .first_position = at};
    kv_.set_runs({&run, 1}, stream_);
    forward(weights_,
            {.ids = host_view(ids_.data(), {count}),
             .positions = host_view(positions_.data(), {count})},
            kv_, *activations_, stream_);
    kv_.commit();
    if (logits == Logits::kOfLast)
      head_logits(weights_, activations_->hidden().rows(count - 1, 1), logits_, stream_);
    return now_s() - start;
  }

  const ModelConfig& config() const { return weights_.config; }
  const KvCache& cache() const { return cache_; }
  int64_t planned_bytes() const {
    return weights_.owned_bytes() + cache_.allocated_bytes() + arena_.peak_bytes();
  }

 private:
  ModelWeights weights_;
  Stream& stream_;
  int64_t rows_;
  KvCache cache_;
  BatchKv kv_;
  KvFiller filler_;
  int slot_;
  Arena arena_;
  std::optional<Activations> activations_;
  TensorView logits_;  // [1, V]
  std::vector<int32_t> ids_, positions_;
  Rng rng_{7};
};

int64_t cache_bytes(const ModelConfig& c, int64_t context, DType dtype) {
  return kv_cache_plan(c, {.context_tokens_max = context, .append_tokens_max = 512, .dtype = dtype})
      .total_bytes();
}

Json engine_line(const Subject& subject, const char* pattern, int64_t depth, int64_t rows,
                 double chunk_s, double token_s) {
  const ModelConfig& c = subject.config();
  Json out = Json::object();
  out["kind"] = "engine";
  out["pattern"] = pattern;
  out["depth"] = depth;
  out["rows"] = rows;
  out["layers"] = c.layer_count();
  out["hidden"] = c.hidden_size;
  out["chunk_s"] = chunk_s;
  out["token_s"] = token_s;
  out["chunk_operations"] = forward_operations(c, {.first_position = depth, .rows = rows}).total();
  out["token_operations"] =
      forward_operations(c, {.first_position = depth, .rows = 1, .head_rows = 1}).total();
  out["kv_bytes"] = cache_bytes(c, std::max<int64_t>(depth, 64), subject.cache().options().dtype);
  return out;
}

std::vector<int64_t> numbers(const std::string& text) {
  std::vector<int64_t> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) out.push_back(std::atoll(part.c_str()));
  return out;
}

// The best of `count` times of each, in turn.
std::pair<double, double> best_of(Subject& a, Subject& b, int64_t rows, int64_t count,
                                  Subject::Logits logits) {
  double best_a = 1e30, best_b = 1e30;
  for (int64_t i = 0; i < count; ++i) {
    best_a = std::min(best_a, a.forward_s(rows, logits));
    best_b = std::min(best_b, b.forward_s(rows, logits));
  }
  return {best_a, best_b};
}

int engine(const std::string& real_path, const std::string& global_path, int64_t rows,
           const std::vector<int64_t>& depths, int64_t decoded) {
  CpuStream stream;
  // A chunk twice where it is quick, the tokens, and one uncounted.
  const int64_t room = depths.back() + 4 * rows + decoded + 64;
  Subject real(real_path, rows, room, stream), global(global_path, rows, room, stream);
  best_of(real, global, rows, 1, Subject::Logits::kOfLast);
  for (const int64_t depth : depths) {
    for (Subject* s : {&real, &global}) s->fill(depth);
    const auto tokens = best_of(real, global, 1, decoded, Subject::Logits::kOfLast);
    const auto chunks = best_of(real, global, rows, depth <= 32768 ? 2 : 1, Subject::Logits::kNone);
    print_line(engine_line(real, "LLLG", depth, rows, chunks.first, tokens.first));
    print_line(engine_line(global, "G", depth, rows, chunks.second, tokens.second));
  }
  const int64_t planned = real.planned_bytes() + global.planned_bytes();
  std::fprintf(stderr, "memory: %s planned for both (%s the pages of the global one), %s touched\n",
               format_bytes(static_cast<double>(planned)).c_str(),
               format_bytes(static_cast<double>(global.cache().allocated_bytes())).c_str(),
               format_bytes(static_cast<double>(touched_bytes())).c_str());
  return 0;
}

// --- training ---

// Four layers small enough for long documents: 15,000 keys cost a row of a layer as much as
// all its other products (28,000 in the 236B), so that what windows save shows at half the length.
ModelConfig training_config() {
  ModelConfig c;
  c.vocab_size = 4096;
  c.hidden_size = 512;
  c.head_count = 8;
  c.kv_head_count = 1;
  c.head_width = 16;
  c.context_tokens = 262144;
  set_layers(
      c, 4, 128,
      {.dense_width = 2304,
       .experts = {.count = 16, .per_token = 8, .width = 256, .shared_count = 1, .scale = 2.5}});
  return c;
}

constexpr int64_t kKeptTokensMax = 32768;  // Longer documents compute their activations again.

double training_step_s(const ModelConfig& config, int64_t tokens, int64_t steps, Stream& stream) {
  LearnerOptions options;
  options.pass = {.rows_max = tokens, .documents_max = 1, .recompute = tokens > kKeptTokensMax};
  Learner learner(config, options, stream);
  learner.parameters().initialise(1, stream);
  learner.parameters_changed();
  Rng rng(1);
  std::vector<int32_t> ids, targets;
  for (int64_t t = 0; t < tokens; ++t)
    ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size))));
  for (int64_t t = 0; t < tokens; ++t)
    targets.push_back(t + 1 < tokens ? ids[static_cast<size_t>(t + 1)] : kIgnore);
  const std::vector<int64_t> lengths = {tokens};
  double best = 1e30;
  for (int64_t i = 0; i < steps; ++i) {
    const double start = now_s();
    learner.accumulate({.ids = ids, .targets = targets, .document_lengths = lengths}, {});
    learner.update(1e-4, "bench");
    best = std::min(best, now_s() - start);
  }
  return best;
}

int training(int64_t tokens, int64_t steps) {
  CpuStream stream;
  training_step_s(training_config(), 256, 1, stream);  // Memory and threads are warm.
  for (const bool real : {true, false}) {
    const ModelConfig c = real ? training_config() : every_layer_global(training_config());
    Json out = Json::object();
    out["kind"] = "training";
    out["pattern"] = real ? "LLLG" : "G";
    out["tokens"] = tokens;
    out["recompute"] = tokens > kKeptTokensMax;
    out["operations"] = training_operations(c, tokens, MtpLoss::kWithout).total();
    out["step_s"] = training_step_s(c, tokens, steps, stream);
    print_line(out);
  }
  return 0;
}

// --- report ---

// EXAONE 4.0 32B, whose attention LG compares with: dense, LLLG with a window of 4,096.
ModelConfig exaone_4_32b() {
  ModelConfig c;
  c.vocab_size = 102400;
  c.hidden_size = 5120;
  c.head_count = 40;
  c.kv_head_count = 8;
  c.head_width = 128;
  c.context_tokens = 131072;
  set_layers(c, 64, 4096, {.dense_width = 27392});
  for (LayerFacts& layer : c.layers) layer.sparse = false;
  return c;
}

struct Costs {
  double kv_bytes = 0, read_bytes = 0;          // cached; read by a token
  double prefill = 0, token = 0, training = 0;  // operations
  double attention = 0;                         // of the prefill
};

Costs costs_of(const ModelConfig& c, int64_t length) {
  Costs out;
  out.kv_bytes = static_cast<double>(cache_bytes(c, length, DType::kF16));
  double positions = 0;
  for (const LayerFacts& layer : c.layers)
    positions += keys_in_sight(layer.window_tokens, length - 1, 1);
  out.read_bytes =
      positions * static_cast<double>(2 * row_bytes(DType::kF16, c.kv_head_count * c.head_width));
  const Operations prompt = forward_operations(c, {.rows = length, .head_rows = 1});
  out.prefill = prompt.total();
  out.attention = prompt.attention;
  out.token =
      forward_operations(c, {.first_position = length - 1, .rows = 1, .head_rows = 1}).total();
  out.training =
      training_operations(c, length, c.mtp_layer_count > 0 ? MtpLoss::kWith : MtpLoss::kWithout)
          .total();
  return out;
}

std::string number_text(double value, const char* unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z"};
  size_t i = 0;
  if (value < 1 && *unit == 's') return fmt::format("{:.3g} ms", 1e3 * value);
  for (; value >= 1000 && i + 1 < std::size(kPrefixes); ++i) value /= 1000;
  return fmt::format("{:.{}f} {}{}", value,
                     value < 10    ? 2
                     : value < 100 ? 1
                                   : 0,
                     kPrefixes[i], unit);
}
std::string percent(double part, double whole) {
  return fmt::format("{:.0f} %", 100 * part / whole);
}
std::string length_text(int64_t tokens) { return fmt::format("{}K", tokens / 1024); }

// "506 MB of 1.61 GB: **31 %**"
std::string cell(double real, double global, const char* unit) {
  return number_text(real, unit) + " of " + number_text(global, unit) + ": **" +
         percent(real, global) + "**";
}

// Rows of what is compared, a column a length.
class Comparison {
 public:
  explicit Comparison(const std::string& title) : title_(title) {}
  void column(const std::string& head) { heads_ += " " + head + " |"; }
  void add(const std::string& what, const std::string& text) {
    for (auto& [name, cells] : rows_)
      if (name == what) return void(cells += " " + text + " |");
    rows_.emplace_back(what, " " + text + " |");
  }
  void print() const {
    std::printf("\n%s\n\n| |%s\n|---|", title_.c_str(), heads_.c_str());
    for (const char c : heads_)
      if (c == '|') std::printf("--:|");
    std::printf("\n");
    for (const auto& [name, cells] : rows_) std::printf("| %s |%s\n", name.c_str(), cells.c_str());
  }

 private:
  std::string title_, heads_;
  std::vector<std::pair<std::string, std::string>> rows_;
};

void print_counted() {
  const ModelConfig real = k_exaone_236b(), global = every_layer_global(real);
  Comparison table("Counted: K-EXAONE-236B of the same with every layer global");
  for (const int64_t n : kLengths) {
    const Costs a = costs_of(real, n), b = costs_of(global, n);
    table.column(length_text(n));
    table.add("keys and values", cell(a.kv_bytes, b.kv_bytes, "B"));
    table.add("prompt, operations", cell(a.prefill, b.prefill, ""));
    table.add("... of attention", cell(a.attention, b.attention, ""));
    table.add("next token, operations", cell(a.token, b.token, ""));
    table.add("... keys and values read", cell(a.read_bytes, b.read_bytes, "B"));
    table.add("training on a document, operations", cell(a.training, b.training, ""));
  }
  table.print();
}

void print_exaone_4() {
  const ModelConfig real = k_exaone_236b(), four = exaone_4_32b();
  Comparison table("Counted: K-EXAONE-236B of EXAONE 4.0 32B");
  for (const int64_t n : kLengths) {
    if (n > four.context_tokens) continue;
    const Costs a = costs_of(real, n), b = costs_of(four, n),
                c = costs_of(every_layer_global(four), n);
    table.column(length_text(n));
    table.add("keys and values", cell(a.kv_bytes, b.kv_bytes, "B"));
    table.add("... were EXAONE 4.0 all global", cell(a.kv_bytes, c.kv_bytes, "B"));
    table.add("prompt, operations", cell(a.prefill, b.prefill, ""));
    table.add("... of attention", cell(a.attention, b.attention, ""));
  }
  table.print();
}

double field(const Json& line, const char* name) { return line.at(name).as_double(name); }

// Pairs of lines of one kind: those of LLLG and of G, by depth or length.
using Pairs = std::map<int64_t, std::pair<Json, Json>>;

Pairs pairs_of(const std::vector<Json>& lines, const std::string& kind, const char* by,
               int64_t hidden) {
  Pairs out;
  for (const Json& line : lines) {
    if (line.at("kind").as_string() != kind) continue;
    if (hidden > 0 && line.at("hidden").as_int() != hidden) continue;
    auto& pair = out[line.at(by).as_int()];
    (line.at("pattern").as_string() == "G" ? pair.second : pair.first) = line;
  }
  std::erase_if(out, [](const auto& entry) {
    return entry.second.first.is_null() || entry.second.second.is_null();
  });
  return out;
}

// A prompt's seconds up to each measured depth: chunks between two depths cost the mean of both.
std::map<int64_t, std::pair<double, double>> prompts_of(const Pairs& pairs) {
  std::map<int64_t, std::pair<double, double>> out;
  std::pair<double, double> sum{0, 0};
  for (auto next = pairs.begin(), last = next; next != pairs.end(); last = next++) {
    if (next != pairs.begin()) {
      const double chunks =
          static_cast<double>(next->first - last->first) / field(next->second.first, "rows");
      const auto mean = [&](const Json& a, const Json& b) {
        return (field(a, "chunk_s") + field(b, "chunk_s")) / 2;
      };
      sum.first += chunks * mean(last->second.first, next->second.first);
      sum.second += chunks * mean(last->second.second, next->second.second);
    }
    out[next->first] = sum;
  }
  return out;
}

void print_engine(const Pairs& pairs, int64_t hidden) {
  if (pairs.empty()) return;
  const Json& any = pairs.begin()->second.first;
  Comparison table(fmt::format("Measured: {} layers of width {}, chunks of {} rows",
                               any.at("layers").as_int(), hidden, any.at("rows").as_int()));
  const auto prompts = prompts_of(pairs);
  for (const auto& [depth, pair] : pairs) {
    const auto& [a, b] = pair;
    const auto of = [&](const char* name, const char* unit) {
      return cell(field(a, name), field(b, name), unit);
    };
    table.column(length_text(depth));
    table.add("keys and values", depth > 0 ? of("kv_bytes", "B") : "");
    table.add("a chunk", of("chunk_s", "s"));
    table.add("... its operations",
              percent(field(a, "chunk_operations"), field(b, "chunk_operations")));
    const auto& [real_s, global_s] = prompts.at(depth);
    table.add("the whole prompt", depth > 0 ? cell(real_s, global_s, "s") : "");
    table.add("the next token", of("token_s", "s"));
    table.add("... the token's operations",
              percent(field(a, "token_operations"), field(b, "token_operations")));
  }
  table.print();
}

void print_training(const Pairs& pairs) {
  if (pairs.empty()) return;
  Comparison table("Measured: a training step on one document, four layers of width 512");
  for (const auto& [tokens, pair] : pairs) {
    const auto& [a, b] = pair;
    table.column(length_text(tokens));
    table.add("a step", cell(field(a, "step_s"), field(b, "step_s"), "s"));
    table.add("its operations", cell(field(a, "operations"), field(b, "operations"), ""));
  }
  table.print();
}

Chart counted_chart() {
  const ModelConfig real = k_exaone_236b(), global = every_layer_global(real);
  Chart chart{.options = {.description =
                              "What three sliding layers of four leave of the cost of an "
                              "all-global model, by length",
                          .x_label = "positions",
                          .width_px = 640,
                          .height_px = 300,
                          .from_zero = true,
                          .to_one = true}};
  ChartSeries kv{.name = "keys and values cached (counted, 236B)", .mark = ChartMark::kMean},
      prompt{.name = "prompt, operations (counted, 236B)", .mark = ChartMark::kMean},
      token{.name = "next token, operations (counted, 236B)", .mark = ChartMark::kMean};
  for (int64_t n = 2048; n <= 262144; n += 4096) {
    const Costs a = costs_of(real, n), b = costs_of(global, n);
    for (ChartSeries* s : {&kv, &prompt, &token}) s->x.push_back(static_cast<double>(n));
    kv.y.push_back(a.kv_bytes / b.kv_bytes);
    prompt.y.push_back(a.prefill / b.prefill);
    token.y.push_back(a.token / b.token);
  }
  chart.series = {kv, prompt, token};
  return chart;
}

void add_measured(const Pairs& pairs, Chart& chart) {
  ChartSeries prompt{.name = "prompt, time (measured, slice of true shape)",
                     .mark = ChartMark::kPoints},
      token{.name = "next token, time (measured, slice of true shape)", .mark = ChartMark::kPoints};
  for (const auto& [depth, seconds] : prompts_of(pairs)) {
    if (depth == 0) continue;
    const auto& [a, b] = pairs.at(depth);
    prompt.x.push_back(static_cast<double>(depth));
    prompt.y.push_back(seconds.first / seconds.second);
    token.x.push_back(static_cast<double>(depth));
    token.y.push_back(field(a, "token_s") / field(b, "token_s"));
  }
  if (prompt.x.empty()) return;
  chart.series.push_back(prompt);
  chart.series.push_back(token);
}

int report(const std::string& svg, const std::vector<std::string>& files) {
  std::vector<Json> lines;
  for (const std::string& file : files) {
    std::istringstream in(read_file(file));
    for (std::string line; std::getline(in, line);)
      if (!line.empty()) lines.push_back(parse_json(line, file));
  }
  print_counted();
  print_exaone_4();
  Chart chart = counted_chart();
  std::map<int64_t, bool> widths;
  for (const Json& line : lines)
    if (const Json* hidden = line.find("hidden")) widths[hidden->as_int()] = true;
  for (const auto& [hidden, there] : widths) {
    const Pairs pairs = pairs_of(lines, "engine", "depth", hidden);
    print_engine(pairs, hidden);
    if (hidden == k_exaone_236b().hidden_size) add_measured(pairs, chart);
  }
  print_training(pairs_of(lines, "training", "tokens", 0));
  write_file(svg, chart_file_svg(chart, "What is left of an all-global model's cost"));
  return 0;
}

int run(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto word = [&](size_t i, const char* otherwise) {
    return words.size() > i ? words[i] : std::string(otherwise);
  };
  const auto number = [&](size_t i, const char* otherwise) {
    const int64_t value = std::atoll(word(i, otherwise).c_str());
    if (value < 1) fail(ErrorCode::kInvalidArgument, "'{}': give at least 1", word(i, otherwise));
    return value;
  };
  if (word(0, "") == "engine" && words.size() >= 3)
    return engine(words[1], words[2], number(3, "256"),
                  numbers(word(4, "0,8192,32768,131072,262144")), number(5, "4"));
  if (word(0, "") == "training") return training(number(1, "8192"), number(2, "1"));
  if (word(0, "") == "report" && words.size() >= 2)
    return report(words[1], {words.begin() + 2, words.end()});
  fail(ErrorCode::kInvalidArgument,
       "engine REAL.gguf GLOBAL.gguf, training, or report OUT.svg [RESULTS.jsonl...]");
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) {
  return dure::bench_main(dure::run, argc, argv, "bench_hybrid: ");
}
