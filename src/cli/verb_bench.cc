// `dure bench MODEL`: tokens a second, test by test; `dure bench --make-slice FILE`: a model to
// measure on.
#include <fmt/chrono.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stale_files.h"
#include "cli/args.h"
#include "cli/bench_report.h"
#include "cli/draft_flags.h"
#include "cli/kv_type_flag.h"
#include "cli/model_over_ranks.h"
#include "cli/preload.h"
#include "cli/rank_facts.h"
#include "cli/verbs.h"
#include "comm/ranks.h"
#include "engine/verify_cost.h"
#include "model/load.h"
#include "quantise/slice.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct SliceArgs {
  std::optional<std::string> out, type, head_type;
  SliceShape shape;
  bool force = false;
  bool given() const { return type || head_type || force || shape != SliceShape{}; }
};

struct BenchArgs {
  std::string model;
  std::string prompts = "512", news = "32", depths = "0", sequences = "1";
  std::string arithmetic = "integer8", format = "table";
  KvTypeFlag kv_type;
  int64_t repetitions = 5, batch_rows = 512, seed = 1;
  std::optional<int64_t> threads;
  std::string drafts = "0";
  std::optional<std::string> drafter, verify;
  SliceArgs slice;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == ',')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

int64_t checked(const char* option, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    fail(ErrorCode::kInvalidArgument, "{} {}: give {} to {}", option, value, least, most);
  return value;
}

constexpr int64_t kTokensMax = int64_t{1} << 24;

// "512,128"
std::vector<int64_t> counts(const char* option, const std::string& text, int64_t least) {
  std::vector<int64_t> out;
  for (const std::string& part : split(text)) {
    int64_t value = 0;
    const char* const last = part.data() + part.size();
    const auto [end, problem] = std::from_chars(part.data(), last, value);
    if (part.empty() || problem != std::errc() || end != last)
      fail(ErrorCode::kInvalidArgument,
           "{} {}: give whole numbers, with commas between them, such as 128,512", option, text);
    out.push_back(checked(option, value, least, kTokensMax));
  }
  return out;
}

std::vector<Arithmetic> arithmetics(const std::string& text) {
  std::vector<Arithmetic> out;
  for (const std::string& name : split(text)) {
    const std::optional<Arithmetic> found = arithmetic_from_name(name);
    if (!found)
      fail(ErrorCode::kInvalidArgument,
           "--arithmetic {}: give integer8, exact or bf16, or several with commas between", text);
    out.push_back(*found);
  }
  return out;
}

ThroughputOptions throughput_options(const BenchArgs& args, Arithmetic arithmetic) {
  return {.repetitions = checked("-r", args.repetitions, 1, 10'000),
          .batch_rows = checked("--batch", args.batch_rows, 1, 1 << 16),
          .kv_dtype = args.kv_type.wanted(arithmetic),
          .seed = static_cast<uint64_t>(args.seed)};
}

// As --draft and --drafter say, those without drafts apart.
void add_generations(const BenchArgs& args, ThroughputTest test, std::vector<ThroughputTest>& out) {
  for (const std::string& draft : split(args.drafts)) {
    const DraftSettings s = DraftFlags::parse(draft, draft == "0" ? std::nullopt : args.drafter);
    test.draft_tokens_max = s.tokens_max;
    test.drafter = s.drafter;
    test.draft_length = s.length;
    out.push_back(test);
  }
}

// At each depth the prompts, then the generations of each number of sequences. 0 tokens: no test.
std::vector<ThroughputTest> tests_of(const BenchArgs& args) {
  const std::vector<int64_t> prompts = counts("-p", args.prompts, 0),
                             news = counts("-n", args.news, 0),
                             sequences = counts("--sequences", args.sequences, 1);
  std::vector<ThroughputTest> out;
  for (const int64_t depth : counts("-d", args.depths, 0)) {
    for (const int64_t p : prompts)
      if (p > 0) out.push_back({.prompt_tokens = p, .depth_tokens = depth});
    for (const int64_t n : news)
      for (const int64_t s : sequences)
        if (n > 0)
          add_generations(args, {.new_tokens = n, .depth_tokens = depth, .sequence_count = s}, out);
  }
  if (out.empty()) fail(ErrorCode::kInvalidArgument, "-p 0 -n 0: no test is left; give one tokens");
  return out;
}

int thread_count(const BenchArgs& args) {
  return args.threads ? static_cast<int>(checked("-t", *args.threads, 1, 4096)) : 0;
}

std::string now_text() {
  return fmt::format(
      "{:%Y-%m-%dT%H:%M:%SZ}",
      fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

BenchResult measure(const ModelWeights& weights, const ThroughputTest& test,
                    const ThroughputOptions& options, Stream& stream) {
  BenchResult out{
      .test = test, .options = options, .arithmetic = arithmetic_in(weights), .time = now_text()};
  const int64_t rows = throughput_rows(test, options);
  Progress progress("bench " + test.name(), rows, "tokens");
  out.measured = measure_throughput(weights, test, options, stream,
                                    [&](int64_t done) { progress.update(std::min(done, rows)); });
  progress.finish();
  return out;
}

constexpr std::array<double, 5> kAcceptances = {0.5, 0.6, 0.7, 0.8, 0.9};

void print_costs(const std::vector<VerifyCost>& costs, const BenchSubject& subject,
                 const VerifyCostOptions& o, Arithmetic arithmetic) {
  fmt::print("{}, {}, {} threads, behind {} tokens, medians of {}\n\n", subject.type,
             arithmetic_name(arithmetic), subject.thread_count, o.depth_tokens, o.repetitions);
  fmt::print("| rows |       ms | to one row | bytes to one row | pays from |");
  for (const double a : kAcceptances) fmt::print(" gain at {:.1f} |", a);
  fmt::print("\n| ---: | -------: | ---------: | ---------------: | --------: |");
  for (size_t i = 0; i < kAcceptances.size(); ++i) fmt::print(" ----------: |");
  for (const VerifyCost& c : costs) {
    fmt::print("\n| {:4} | {:8.2f} | {:10.3f} | {:16.3f} | {:9.2f} |", c.rows, c.median_ns * 1e-6,
               c.ratio, c.byte_ratio, c.break_even());
    for (const double a : kAcceptances) fmt::print(" {:11.3f} |", c.gain(a));
  }
  fmt::print("\n");
}

void print_costs_json(const std::vector<VerifyCost>& costs, const BenchSubject& subject,
                      const VerifyCostOptions& o, Arithmetic arithmetic) {
  for (const VerifyCost& c : costs) {
    Json out = Json::object();
    out["model_filename"] = subject.model_path;
    out["model_type"] = subject.type;
    out["n_threads"] = subject.thread_count;
    out["arithmetic"] = std::string(arithmetic_name(arithmetic));
    out["n_depth"] = o.depth_tokens;
    out["n_verify"] = c.rows;
    out["median_ns"] = static_cast<int64_t>(c.median_ns);
    out["cost_ratio"] = c.ratio;
    out["byte_ratio"] = c.byte_ratio;
    out["break_even_acceptance"] = c.break_even();
    Json gains = Json::object();
    for (const double a : kAcceptances) gains[fmt::format("{:.1f}", a)] = c.gain(a);
    out["gain_by_acceptance"] = gains;
    fmt::print("{}\n", out.dump());
  }
}

// --verify: what passes that check drafts take.
void verify(const BenchArgs& args, const ModelWeights& weights, const BenchSubject& subject,
            Stream& stream) {
  for (const int64_t depth : counts("-d", args.depths, 0)) {
    const VerifyCostOptions options{.rows = counts("--verify", *args.verify, 2),
                                    .depth_tokens = depth,
                                    .repetitions = checked("-r", args.repetitions, 1, 10'000),
                                    .kv_dtype = args.kv_type.wanted(arithmetic_in(weights)),
                                    .seed = static_cast<uint64_t>(args.seed)};
    Progress progress("bench, rows that check drafts", verify_cost_passes(options), "passes");
    const auto costs =
        measure_verify_cost(weights, options, stream, [&](int64_t made) { progress.update(made); });
    progress.finish();
    const Arithmetic arithmetic = arithmetic_in(weights);
    (args.format == "jsonl" ? print_costs_json : print_costs)(costs, subject, options, arithmetic);
  }
}

// Tests of the model in one arithmetic after another.
class Bencher {
 public:
  // Throws what bad arguments are, before the model is opened.
  explicit Bencher(const BenchArgs& args)
      : args_(args),
        tests_(args.verify ? std::vector<ThroughputTest>{} : tests_of(args)),
        files_(std::make_shared<const ModelFiles>(find_model(args.model))),
        subject_(bench_subject(*files_, args.model)),
        report_(bench_report(args.format, subject_)),
        stream_(thread_count(args)) {
    const ThroughputOptions options = throughput_options(args, Arithmetic::kExact);
    for (const ThroughputTest& test : tests_) check_test(files_->config(), test, options);
    subject_.thread_count = stream_.thread_count();
  }

  // All of the model here, in every arithmetic before the first is measured: one that the files
  // cannot have is refused.
  void run(const std::vector<Arithmetic>& arithmetics) {
    std::vector<ModelWeights> opened;
    for (const Arithmetic arithmetic : arithmetics)
      opened.push_back(open_weights(files_, arithmetic));
    begin(opened.front());
    for (const ModelWeights& weights : opened) measure_all(weights, nullptr);
    end();
  }
  // As the first of all ranks, which open their parts anew for each.
  void run_over_ranks(const std::vector<Arithmetic>& arithmetics, Group& world) {
    subject_.rank_count = world.size();
    for (size_t i = 0; i < arithmetics.size(); ++i) {
      ModelOverRanks ranks(world, files_->path().string(), {.arithmetic = arithmetics[i]});
      if (i == 0) begin(ranks.model().weights);
      ranks.start(rows_max(), stream_);
      try {
        measure_all(ranks.model().weights, &ranks);
      } catch (const Error&) {
        ranks.throw_if_lost();
        throw;
      }
      ranks.end();
    }
    end();
  }

 private:
  void begin(const ModelWeights& weights) {
    subject_.peak = measure_peak(stream_, 1);
    preload(weights, stream_);
    if (!args_.verify) report_->begin();
  }
  void end() {
    if (!args_.verify) report_->end();
  }
  void measure_all(const ModelWeights& weights, ModelOverRanks* ranks) {
    if (args_.verify) return verify(args_, weights, subject_, stream_);
    const ThroughputOptions options = throughput_options(args_, arithmetic_in(weights));
    for (const ThroughputTest& test : tests_) {
      const ExpertStatistics before = ranks != nullptr ? ranks->statistics() : ExpertStatistics{};
      BenchResult result = measure(weights, test, options, stream_);
      if (ranks != nullptr) result.ranks = ranks->statistics() - before;
      report_->add(result);
    }
  }
  // Of a pass of any test.
  int64_t rows_max() const {
    int64_t rows = args_.batch_rows;
    for (const ThroughputTest& test : tests_)
      rows = std::max(rows, test.sequence_count * (1 + test.draft_tokens_max));
    if (args_.verify)
      for (const int64_t count : counts("--verify", *args_.verify, 2)) rows = std::max(rows, count);
    return rows;
  }

  const BenchArgs& args_;
  std::vector<ThroughputTest> tests_;
  std::shared_ptr<const ModelFiles> files_;
  BenchSubject subject_;
  std::unique_ptr<BenchReport> report_;
  CpuStream stream_;
};

int bench(const BenchArgs& args) {
  const std::vector<Arithmetic> asked = arithmetics(args.arithmetic);
  const Json alike = Json::array_of(std::vector{args.model, args.arithmetic});
  run_in_all_ranks(kOpeningRanks_s, rank_facts(alike), [&](Group& world) {
    if (world.size() == 1) return Bencher(args).run(asked);
    if (world.is_first()) return Bencher(args).run_over_ranks(asked, world);
    for (const Arithmetic arithmetic : asked)
      work_for_front(world, find_model(args.model).string(), {.arithmetic = arithmetic},
                     PreloadFlag{.name = "yes"});
  });
  return 0;
}

void say_fallbacks(const SliceTypes& types) {
  int64_t count = 0;
  const TypeChoice* first = nullptr;
  for (const TypeChoice& choice : types.choices) {
    if (!choice.fell_back()) continue;
    if (first == nullptr) first = &choice;
    ++count;
  }
  if (first == nullptr) return;
  log_warn("{} tensors in another type, as their rows are no whole blocks: {} in {} for {}", count,
           first->info.name, dtype_info(first->info.dtype).name, dtype_info(first->wanted).name);
}

int make_slice(const BenchArgs& args) {
  const SliceArgs& slice = args.slice;
  const Path out = *slice.out;
  if (!args.model.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: --make-slice writes a model, it takes none; measure it in a second run", args.model);
  if (out.extension() != ".gguf")
    fail(ErrorCode::kInvalidArgument, "{}: the name of a .gguf file is needed", *slice.out);
  check_replaceable_file(out, slice.force);
  SliceJob job{.config = slice_config(slice.shape), .out = out};
  job.types = slice_types(job.config, slice.type.value_or("Q4_K"), slice.head_type);
  job.seed = static_cast<uint64_t>(args.seed);
  say_fallbacks(job.types);
  remove_stale_temporaries(out);
  CpuStream stream(thread_count(args));
  Progress progress("writing " + out.filename().string(), job.bytes(), "bytes");
  write_slice(job, stream, [&](int64_t done) { progress.update(done); });
  progress.finish();
  fmt::print("written: {}, {} layers, {} parameters, {}\n", *slice.out, job.config.layer_count(),
             format_count(static_cast<double>(count_model(job.config).parameters)),
             format_bytes(static_cast<double>(dure::file_size(out))));
  return 0;
}

int run(const BenchArgs& args) {
  if (args.slice.out) {
    require_one_process("bench --make-slice");
    return make_slice(args);
  }
  if (args.slice.given())
    fail(ErrorCode::kInvalidArgument,
         "shapes, types and --force are of --make-slice FILE, which is not given");
  if (args.model.empty())
    fail(ErrorCode::kInvalidArgument,
         "no MODEL to measure; `dure bench --make-slice FILE.gguf` "
         "makes one of true shapes");
  return bench(args);
}

void declare_slice(Args& args, SliceArgs& slice) {
  SliceShape& shape = slice.shape;
  args.option("--make-slice", slice.out,
              "write a GGUF file of K-EXAONE's shapes with random weights, and measure nothing");
  args.option("--type", slice.type,
              "of its matrices: a type such as Q4_K (default), IQ4_XS, BF16, or a mixture such as "
              "Q4_K_M");
  args.option("--head-type", slice.head_type, "of its head (default: Q6_K under smaller blocks)");
  args.flag("--force", slice.force, "replace the file where it is there");
  args.option("--layers", shape.layers, "layers: the first dense, the others sparse");
  args.option("--pattern", shape.pattern,
              "of the layers, repeated: L sliding, G global; G alone makes every layer global");
  args.option("--hidden", shape.hidden_size, "hidden width");
  args.option("--heads", shape.heads, "query heads");
  args.option("--kv-heads", shape.kv_heads, "key and value heads");
  args.option("--head-width", shape.head_width, "width of a head");
  args.option("--dense-width", shape.dense_width, "width of the dense layer's feed-forward block");
  args.option("--experts", shape.experts, "experts of a layer");
  args.option("--experts-per-token", shape.experts_per_token, "experts that a token meets");
  args.option("--expert-width", shape.expert_width, "width of an expert");
  args.option("--shared-experts", shape.shared_experts, "experts that every token meets");
  args.option("--vocabulary", shape.vocabulary, "ids");
  args.option("--window", shape.window_tokens, "tokens that sliding layers see");
  args.option("--context", shape.context_tokens, "longest context in tokens");
}

constexpr const char* kExamples =
    "  dure bench model.gguf\n"
    "  dure bench model.gguf -p 8,32,128,512 -n 32 -r 5 -o jsonl\n"
    "  dure bench model.gguf -p 0 -n 16 -d 0,4096,8192 --kv-type f16\n"
    "  dure bench model.gguf -p 0 --sequences 1,2,4,8\n"
    "  dure bench model.gguf -p 0 --draft 0,1,2,auto\n"
    "  dure bench model.gguf --verify 2,3,4 -d 0,4096\n"
    "  dure bench model.gguf --arithmetic integer8,exact\n"
    "  dure bench --make-slice slice.gguf\n"
    "  dure bench --make-slice global.gguf --layers 4 --pattern G\n"
    "  mpirun -n 4 dure bench model.gguf     one model over four ranks (docs/ranks.md)\n"
    "  dure bench --make-slice slice-iq4.gguf --layers 5 --type IQ4_XS --head-type Q6_K\n\n"
    "What is timed: a prompt test (pp) feeds random ids and ends with the logits of the last one;\n"
    "every layer is computed in full for all of them, where llama-bench leaves out the last\n"
    "layer's feed-forward block for all but the last. A generation test (tg) is so many forwards "
    "of\n"
    "one row of each sequence; its rate is of all sequences together. A depth (@ d) is in the "
    "cache\n"
    "beforehand and not timed. Everything is read once first, and each test runs once "
    "uncounted.\n\n"
    "What is counted: bytes are those of all matrices and norms once a forward, the head once, a\n"
    "row of the embedding a token, the keys and values in sight; of E experts those that T tokens\n"
    "choose K of under even routing, E (1 - (1 - K/E)^T). Operations are two a multiply-add of\n"
    "products with weights, K experts a token; attention's own are left out. Shares are of peaks\n"
    "measured at the start. docs/benchmarks.md has the fields of -o jsonl.\n";

}  // namespace

std::function<int()> declare_bench(Args& args) {
  auto options = std::make_shared<BenchArgs>();
  args.positional("MODEL", options->model,
                  "a GGUF file, folder, checkpoint or repo id; no tokenizer is needed", false);
  args.option("-p,--n-prompt", options->prompts, "tokens of prompt tests (0: none)");
  args.option("-n,--n-gen", options->news, "tokens of generation tests (0: none)");
  args.option("-d,--n-depth", options->depths, "tokens in the cache before each test");
  args.option("--sequences", options->sequences, "of generation tests: sequences at once");
  args.option("--draft", options->drafts,
              "of generation tests: tokens guessed ahead, a number or auto, or several: 0,2,auto");
  args.option("--drafter", options->drafter,
              "who guesses: mtp, ngram, auto (default: mtp, with --draft auto whichever promises "
              "most)");
  args.option("--verify", options->verify,
              "instead of all tests: what passes of so many rows of one sequence take beside one "
              "row, and what drafts may gain, such as 2,3,4");
  args.option("-r,--repetitions", options->repetitions, "times that a test is measured");
  args.option("-t", options->threads, "the same as --threads");
  args.option(
      "--arithmetic", options->arithmetic,
      "integer8 (of quantised weights), exact, bf16 (of BF16 ones), or several: integer8,exact");
  args.option("-o,--output", options->format, "table, or jsonl: one object a line");
  options->kv_type.declare(args);
  args.option("-b,--batch", options->batch_rows, "rows of one forward");
  args.option("--seed", options->seed, "of the prompts' ids, or of the slice's weights");
  declare_slice(args, options->slice);
  args.examples(kExamples);
  return [options] { return run(*options); };
}

}  // namespace dure
