// `dure serve MODEL`: an HTTP server for clients of OpenAI's API. Binds first, so that a busy port
// is known before minutes of reading, and answers "loading" meanwhile; a signal drains it.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "chat/open_model.h"
#include "chat/prompt_scorer.h"
#include "cli/args.h"
#include "cli/arithmetic_flag.h"
#include "cli/draft_flags.h"
#include "cli/kv_type_flag.h"
#include "cli/memory_plan.h"
#include "cli/model_over_ranks.h"
#include "cli/preload.h"
#include "cli/rank_facts.h"
#include "cli/served_adapters.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "comm/ranks.h"
#include "formats/tensor_names.h"
#include "model/touch.h"
#include "server/api.h"
#include "server/http_server.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

// Of a prompt whose log-probabilities are asked for: it takes memory of its own.
constexpr int64_t kScoredTokensMax = 16384;

struct Given {
  std::string model;
  std::vector<std::string> names, keys, cors_origins, hosts, adapters;
  std::optional<std::string> key_file, metrics_compat, chat_template, prefix_file;
  HttpServerOptions http;
  std::optional<int64_t> context_tokens, thinking_tokens;
  int64_t sequences_max = 64, queue_max = 256;
  DraftFlags draft;
  int64_t body_mib_max = 32;
  double drain_seconds = 30, rank_limit_s = ModelOverRanksOptions().limit_s;
  std::string runs = "here", reasoning_field = "reasoning_content";
  bool any_model = false, no_thinking = false, no_metrics = false, verbose_access = false;
  bool share_prefixes = false;
  ArithmeticFlag arithmetic;
  KvTypeFlag kv_type;
  PreloadFlag preload;
};

// A name of ./dev quickstart's, such as nano, is the model that it released.
std::string resolved(const std::string& model) {
  const Path released = Path("runs") / model / "release";
  if (!path_exists(model) && path_exists(released)) return released.string();
  const bool bare = model.find_first_of("/.") == std::string::npos;
  if (path_exists(model) || !bare) return find_model(model).string();
  fail(ErrorCode::kNotFound,
       "{}: no such file or folder here, and no {}; `./dev quickstart` makes runs/nano, which "
       "`dure serve nano` serves from the same folder",
       model, released.string());
}

// One key a line; # begins a comment.
void read_keys(const std::string& file, std::vector<std::string>& out) {
  std::istringstream lines(read_file(file));
  size_t before = out.size();
  for (std::string line; std::getline(lines, line);) {
    line = line.substr(0, line.find('#'));
    line.erase(0, line.find_first_not_of(" \t\r"));
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) out.push_back(line);
  }
  // An empty file must not open the server to all.
  if (out.size() == before)
    fail(ErrorCode::kInvalidArgument, "{}: holds no key; write one a line", file);
}

std::vector<std::string> keys_of(const Given& given) {
  std::vector<std::string> out = given.keys;
  if (given.key_file) read_keys(*given.key_file, out);
  if (const char* key = std::getenv("DURE_API_KEY"); key != nullptr && *key != '\0')
    out.emplace_back(key);
  for (const std::string& key : out) {
    if (key.empty()) fail(ErrorCode::kInvalidArgument, "--api-key: an empty key is none");
  }
  return out;
}

std::optional<ShowRuns> show_runs(const std::string& word) {
  if (word == "here") return ShowRuns::kHere;
  if (word == "always") return ShowRuns::kAlways;
  if (word == "never") return ShowRuns::kNever;
  return std::nullopt;
}

void check(const Given& given) {
  const auto at_least = [](const char* flag, int64_t value, int64_t low) {
    if (value < low) fail(ErrorCode::kInvalidArgument, "{} {}: give at least {}", flag, value, low);
  };
  at_least("--max-sequences", given.sequences_max, 1);
  at_least("--max-queue", given.queue_max, 0);
  at_least("--max-body-size", given.body_mib_max, 1);
  at_least("--io-threads", given.http.thread_count, 1);
  if (given.context_tokens) at_least("--context", *given.context_tokens, 2);
  given.draft.check();
  if (given.prefix_file) {  // That it can be written, before it is needed.
    check_replaceable_file(*given.prefix_file, true);
    const StagedFile probe(*given.prefix_file);
  }
  if (!show_runs(given.runs))
    fail(ErrorCode::kInvalidArgument, "--runs {}: give here, always or never", given.runs);
  if (given.reasoning_field != "reasoning_content" && given.reasoning_field != "reasoning") {
    fail(ErrorCode::kInvalidArgument, "--reasoning-field {}: give reasoning_content or reasoning",
         given.reasoning_field);
  }
  if (given.thinking_tokens) at_least("--thinking-budget", *given.thinking_tokens, 0);
  if (given.metrics_compat && *given.metrics_compat != "vllm")
    fail(ErrorCode::kInvalidArgument, "--metrics-compat {}: give vllm, or leave it away",
         *given.metrics_compat);
}

// Of the engine's passes and of those that score prompts.
int64_t rows_of_passes(const GeneratorOptions& options) {
  return std::max(options.batch_rows_max, PromptScorer::kPassRows);
}

// As many pages as fit into most of the memory that is free, at most as many as all sequences can
// fill.
GeneratorOptions generator_options(const Given& given, const OpenModel& model, int64_t adapter_rank,
                                   const ModelOverRanks* ranks) {
  const ModelConfig& config = model.weights.config;
  const int64_t context =
      std::min(given.context_tokens.value_or(config.context_tokens), config.context_tokens);
  if (given.context_tokens.value_or(0) > config.context_tokens) {
    log_warn("--context {}: the model's own limit of {} tokens is taken", *given.context_tokens,
             config.context_tokens);
  }
  GeneratorOptions out{.sequences_max = given.sequences_max,
                       .context_tokens_max = context,
                       .kv_dtype = given.kv_type.wanted(arithmetic_in(model.weights)),
                       .adapter_rank = adapter_rank,
                       .prefix = {.keep = true}};
  given.draft.settings(config, model.texts.source, given.sequences_max, out.batch_rows_max)
      .give(out);
  out.batch_rows_max =
      std::max(out.batch_rows_max, given.sequences_max * (1 + out.draft_tokens_max));
  const ServePlan plan = plan_serving(config, nullptr, out);
  // What is read of the weights stays in memory too, where it can.
  const int64_t available = machine_memory().available_bytes;
  const int64_t weights = std::min(touch_bytes(model.weights), available / 2);
  const int64_t allowed = (available - weights) / 10 * 7;
  const int64_t fixed = plan.ring_bytes + plan.table_bytes + plan.activation_bytes +
                        (ranks != nullptr ? ranks->front_bytes(rows_of_passes(out)) : 0);
  if (fixed + plan.page_bytes <= allowed) return out;
  if (fixed >= allowed) {
    fail(ErrorCode::kOutOfMemory,
         "{} sequences want {} beside the model, and {} may be used; lower --max-sequences",
         given.sequences_max, format_bytes(static_cast<double>(fixed)),
         format_bytes(static_cast<double>(allowed)));
  }
  out.page_count = pages_within(config, out, allowed - fixed);
  return out;
}

// Each connection is an open file, and shells allow 1,024 unless asked for more.
void allow_open_files(int64_t connections) {
  const auto wanted = static_cast<rlim_t>(connections + 256);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// A template of the operator's own, with the special tokens that the model's knows.
ChatTemplate template_of(const std::string& file, const OpenModel& model) {
  const std::optional<std::string>& config = model.files->texts().tokenizer_config;
  return ChatTemplate(
      read_file(file), file,
      config ? special_token_variables(parse_json(*config, "tokenizer_config.json")) : Json());
}

// Under which the model is asked for: those given, else its path and the last part of it.
std::vector<std::string> names_of(const Given& given) {
  if (!given.names.empty()) return given.names;
  std::string path = given.model;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  std::vector<std::string> out = {path};
  if (const std::string last = Path(path).filename().string(); last != path) out.push_back(last);
  return out;
}

std::shared_ptr<ServedModel> served_model(const Given& given, const OpenModel& model,
                                          int64_t context_tokens, PromptScorer& scorer) {
  auto out = std::make_shared<ServedModel>();
  out->names = names_of(given);
  out->root = given.model;
  out->texts = model.texts;
  if (given.chat_template) out->texts.chat_template = template_of(*given.chat_template, model);
  out->defaults = load_sampling(*model.files);
  out->context_tokens = context_tokens;
  out->vocab_size = model.weights.config.vocab_size;
  out->created_s = static_cast<int64_t>(std::time(nullptr));
  out->any_name = given.any_model;
  out->thinking = !given.no_thinking;
  out->thinking_tokens = given.thinking_tokens;
  out->reasoning_field = given.reasoning_field;
  out->masks = std::make_shared<AnswerMasks>(out->texts.require_tokenizer(), out->vocab_size,
                                             out->texts.stops.tokens);
  out->score_prompts = [&scorer](const std::vector<std::vector<int32_t>>& prompts, int64_t top,
                                 const ModelAdapter* adapter) {
    return scorer.score(prompts, top, adapter);
  };
  return out;
}

// What there is to see of the model and of the memory that it was given.
void add_facts(const OpenModel& model, const GeneratorOptions& options, const Holding& holding,
               ServedModel& out) {
  const ModelConfig& config = model.weights.config;
  const ModelCounts counts = count_model(config);
  out.facts["parameters"] = counts.parameters;
  out.facts["active_parameters"] = counts.active;
  out.facts["layers"] = config.layer_count();
  out.facts["vocabulary"] = config.vocab_size;
  out.facts["arithmetic"] = arithmetic_name(arithmetic_in(model.weights));
  out.facts["kv_type"] = kv_type_name(options.kv_dtype);
  out.facts["batch_rows"] = options.batch_rows_max;
  const ServePlan plan = plan_serving(config, model.files.get(), options, holding);
  out.memory["mapped"] = plan.mapped_bytes;
  out.memory["copied"] = plan.copied_bytes;
  out.memory["rings"] = plan.ring_bytes;
  out.memory["pages"] = plan.page_bytes;
  out.memory["tables"] = plan.table_bytes;
  out.memory["activations"] = plan.activation_bytes;
  out.memory["total"] = plan.total_bytes();
  out.memory["machine"] = machine_memory().total_bytes;
}

void print_ready(const HttpServer& server, const ServedModel& model, const EngineThread& engine) {
  const std::string url = server.url();
  std::printf(
      "serving %s: context %lld tokens, %lld sequences at once\n"
      "  page  %s\n"
      "  API   %s/v1\n"
      "  try   curl %s%s/v1/chat/completions -H 'Content-Type: application/json' -d "
      "'{\"messages\": [{\"role\": \"user\", \"content\": \"3+4=?\"}]}'\n",
      model.name().c_str(), static_cast<long long>(model.context_tokens),
      static_cast<long long>(engine.options().generator.sequences_max), url.c_str(), url.c_str(),
      server.socket_path().empty()
          ? ""
          : fmt::format("--unix-socket '{}' ", server.socket_path()).c_str(),
      url.c_str());
  std::fflush(stdout);
}

// What is under way hears of a rank that is lost in this time, before a launcher ends all.
constexpr double kTellOfLoss_s = 0.3;

// Until a signal comes; then what is under way may end, and a second signal ends the process. A
// rank that is lost ends all at once.
void serve_until_signal(HttpServer& server, Api& api, EngineThread& engine, double drain_seconds,
                        const ModelOverRanks* ranks) {
  const auto must_end = [&] { return interrupted() || (ranks != nullptr && ranks->must_stop()); };
  while (!must_end()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const bool lost = ranks != nullptr && ranks->is_lost();
  const int64_t left = server.statistics().exchanges;
  if (lost) {
    drain_seconds = kTellOfLoss_s;
  } else {
    log_info(
        "ending: nothing new is taken; {} answers have {:.0f} s to end (a second signal ends "
        "them at once)",
        left, drain_seconds);
  }
  api.set_draining();
  server.stop_accepting();
  if (!server.wait_until_idle(drain_seconds) && !lost)
    log_warn("{} answers were cut: they took longer than {:.0f} s", server.statistics().exchanges,
             drain_seconds);
  server.stop();
  engine.stop();
}

PrefixFileOwner prefix_owner(const OpenModel& model) {
  const BuildFacts facts = build_facts();
  return {model.texts.source, fmt::format("{} {}", facts.version, facts.commit)};
}

// What an earlier server left, where it has left something.
void load_prefixes(const Path& path, const OpenModel& model, EngineThread& engine) {
  if (!path_exists(path)) {
    log_info("{}: not there yet; prefixes are written to it at the end", path.string());
    return;
  }
  const RestoredPrefixes there = engine.restore_prefixes(path, prefix_owner(model));
  log_info("{}: {} prefixes{}", path.string(), there.snapshots,
           there.left_away > 0 ? fmt::format(", {} more found no room", there.left_away) : "");
}

void save_prefixes(const Path& path, const OpenModel& model, EngineThread& engine) {
  engine.save_prefixes(path, prefix_owner(model));
  log_info("{}: {} prefixes written", path.string(), engine.statistics().generator.prefixes);
}

// The API until the end. `ranks`: that hold the model together; null: one process has all of it.
void answer(const Given& given, OpenModel& model, ModelOverRanks* ranks, HttpServer& server,
            Api& api) {
  model.texts.require_tokenizer();
  CpuStream stream;
  std::vector<ServedAdapter> adapters =
      open_adapters(given.adapters, names_of(given), model, stream);
  if (ranks != nullptr) refuse_expert_adapters(adapters, ranks->ranks());
  const int64_t rank_max = largest_rank(adapters);
  const GeneratorOptions options = generator_options(given, model, rank_max, ranks);
  given.preload.run(model.weights, model.texts.source, stream);
  if (ranks != nullptr) ranks->start(rows_of_passes(options), stream);
  EngineThread engine(model.weights,
                      {.generator = options, .waiting_requests_max = given.queue_max}, stream);
  if (given.prefix_file) load_prefixes(*given.prefix_file, model, engine);
  PromptScorer scorer(model, std::min(options.context_tokens_max, kScoredTokensMax), rank_max);
  const auto served = served_model(given, model, options.context_tokens_max, scorer);
  served->adapters = std::move(adapters);
  add_facts(model, options, ranks != nullptr ? ranks->holding() : Holding{}, *served);
  if (ranks != nullptr) served->ranks = [ranks] { return ranks->statistics(); };
  InterruptScope scope;
  api.set_ready(served, engine);
  print_ready(server, *served, engine);
  serve_until_signal(server, api, engine, given.drain_seconds, ranks);
  if (ranks != nullptr) ranks->throw_if_lost();
  if (given.prefix_file) save_prefixes(*given.prefix_file, model, engine);
}

// The first rank, or the only one.
void serve(const Given& given, Group& world) {
  check(given);
  Given settled = given;
  settled.http.limits.body_bytes_max = given.body_mib_max << 20;
  const std::string path = resolved(given.model);
  Api api({.keys = keys_of(given),
           .cors_origins = given.cors_origins,
           .hosts = given.hosts,
           .metrics = !given.no_metrics,
           .vllm_metric_names = given.metrics_compat.has_value(),
           .runs = *show_runs(given.runs),
           .access_log = given.verbose_access,
           .keys_share_prefixes = given.share_prefixes,
           .version = build_facts().version});
  allow_open_files(settled.http.limits.connections_max);
  HttpServer server(settled.http, api);
  api.set_http([&server] { return server.statistics(); });
  server.start();
  log_info("listening at {}; reading the model",
           server.socket_path().empty() ? server.url() : server.socket_path());
  if (world.size() == 1) {
    OpenModel model = open_model(path, given.arithmetic.wanted());
    return answer(given, model, nullptr, server, api);
  }
  ModelOverRanks ranks(world, path, {given.arithmetic.wanted(), given.rank_limit_s});
  answer(given, ranks.model(), &ranks, server, api);
  ranks.end();
}

int run(const Given& given) {
  const Json alike = Json::array_of(std::vector{given.model, given.arithmetic.name});
  run_in_all_ranks(kOpeningRanks_s, rank_facts(alike), [&](Group& world) {
    if (world.is_first()) return serve(given, world);
    work_for_front(world, resolved(given.model), {given.arithmetic.wanted(), given.rank_limit_s},
                   given.preload);
  });
  return 0;
}

}  // namespace

std::function<int()> declare_serve(Args& args) {
  auto given = std::make_shared<Given>();
  args.config_file();
  args.positional("MODEL", given->model,
                  "model folder, GGUF file, checkpoint, repo id in the Hugging Face cache, or a "
                  "name of ./dev quickstart's (nano)");
  args.option("--host", given->http.host,
              "address to listen at; 0.0.0.0 is all that reach this machine; unix:PATH a socket in "
              "the file system");
  args.option("--port", given->http.port, "port (0: one that is free)");
  args.options("--model-name,--served-model-name,-a,--alias", given->names,
               "name that clients ask for (may be repeated; default: MODEL as given)");
  args.options(
      "--adapter,--lora,--lora-modules", given->adapters,
      "NAME=PATH of a PEFT folder or GGUF adapter that answers requests for the model NAME "
      "(may be repeated)");
  args.flag("--any-model", given->any_model, "answer whatever model a request names");
  args.options("--api-key", given->keys,
               "key that clients must give (may be repeated; also DURE_API_KEY)");
  args.option("--api-key-file", given->key_file, "file of keys, one a line");
  args.option("-c,--context,--ctx-size,--max-model-len", given->context_tokens,
              "longest prompt and answer together (default: the model's own limit)");
  args.option("--max-sequences,--parallel,--max-num-seqs", given->sequences_max,
              "answers generated together");
  args.option("--max-queue", given->queue_max, "answers that may wait; more are refused (429)");
  args.option("--chat-template", given->chat_template,
              "Jinja file that renders conversations instead of the model's own");
  given->draft.declare(args);
  args.option("--prefix-file", given->prefix_file,
              "keys and values of what prompts begin with: read at the start, written at the end");
  args.flag("--no-thinking", given->no_thinking,
            "answer without reasoning first where a request does not say");
  args.option("--thinking-budget,--reasoning-budget", given->thinking_tokens,
              "tokens after which the reasoning ends, where a request does not say");
  args.option("--reasoning-field", given->reasoning_field,
              "where a chat's answer has its reasoning: reasoning_content, or reasoning as vLLM's");
  args.flag("--share-prefixes", given->share_prefixes,
            "let requests of one key begin at what another key's prompts left");
  args.options("--cors-origins,--cors-origin", given->cors_origins,
               "site whose pages may ask (may be repeated; \"*\": all; this machine's always may)");
  args.options("--allowed-host", given->hosts,
               "further name under which this machine is asked (may be repeated)");
  args.option("--tls-certificate,--ssl-certfile", given->http.tls_certificate,
              "PEM file: serve https");
  args.option("--tls-key,--ssl-keyfile", given->http.tls_key, "PEM file of its key");
  args.option("--max-body-size", given->body_mib_max, "largest request in MiB");
  args.option("--drain-seconds", given->drain_seconds,
              "how long answers may take to end after SIGTERM");
  args.option("--rank-limit", given->rank_limit_s,
              "under mpirun or srun, whose ranks hold the routed experts together: seconds without "
              "an answer after which a rank counts as hung (0: never)");
  args.option("--io-threads", given->http.thread_count, "threads for clients");
  args.option("--runs", given->runs,
              "who sees the runs of this machine on the page: here (who asks at a loopback "
              "address), always, never");
  args.flag("--access-log", given->verbose_access, "a line for each request, with its timings");
  args.flag("--no-metrics", given->no_metrics, "nothing at /metrics");
  args.option("--metrics-compat", given->metrics_compat, "vllm: metrics under vLLM's names");
  given->arithmetic.declare(args);
  given->kv_type.declare(args);
  given->preload.declare(args);
  args.examples(
      "  dure serve nano\n"
      "  dure serve LGAI-EXAONE/K-EXAONE-236B-A23B --model-name k-exaone --draft auto\n"
      "  dure serve base.gguf --adapter support=runs/support/adapter --adapter law=law.gguf\n"
      "  dure serve model.gguf --host 0.0.0.0 --port 8080 --api-key-file keys.txt\n"
      "  dure serve --config serve.yaml\n"
      "  mpirun -n 4 dure serve MODEL       one model over four ranks (docs/ranks.md)\n"
      "  curl localhost:8000/v1/models\n");
  return [given] { return run(*given); };
}

}  // namespace dure
