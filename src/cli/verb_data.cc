// `dure data prepare|inspect|pairs`: corpora for training, and what is in them; verified answers as
// preferences.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "cli/args.h"
#include "cli/loss_inspect.h"
#include "cli/preference_rows.h"
#include "cli/verbs.h"
#include "data/corpus.h"
#include "data/inspect.h"
#include "data/model_texts.h"
#include "eval/report.h"
#include "eval/rollout_view.h"

namespace dure {
namespace {

struct PrepareArgs {
  std::vector<std::string> inputs, changes;
  std::string out;
  std::optional<std::string> language, format;
  std::optional<double> heldout_fraction;
  bool force = false, fields = false;
};

bool is_yaml(const std::string& name) { return name.ends_with(".yaml") || name.ends_with(".yml"); }

// The configuration file among the inputs, changed by --set; the other inputs become one more
// source.
CorpusOptions options_of(const PrepareArgs& args) {
  CorpusOptions options;
  Json json = Json::object();
  std::string where = "command line";
  CorpusSource files;
  for (const std::string& input : args.inputs) {
    if (!is_yaml(input)) {
      files.paths.push_back(input);
    } else if (where != "command line") {
      fail(ErrorCode::kInvalidArgument, "{} and {}: give one configuration file", where, input);
    } else {
      json = load_yaml(where = input);
    }
  }
  for (const std::string& change : args.changes) set_path(json, change);
  blame_assignments(where, args.changes, [&] { from_json(options, json, where); });
  if (args.language) files.language = *args.language;
  if (args.format) files.format = enum_from_name<RecordForm>(*args.format, "--format");
  if (args.heldout_fraction) files.heldout_fraction = *args.heldout_fraction;
  if (!(files.heldout_fraction >= 0 && files.heldout_fraction <= 1)) {
    fail(ErrorCode::kInvalidArgument, "--heldout-fraction is {}: it must be from 0 to 1",
         files.heldout_fraction);
  }
  if (!files.paths.empty()) options.sources.push_back(files);
  blame_assignments(where, args.changes, [&] { check_corpus_options(options, where); });
  return options;
}

void print_unknown_keys(const UnknownKeys& keys) {
  if (keys.empty()) return;
  std::string list;
  for (const auto& [key, count] : keys)
    list += fmt::format("{}'{}' ({})", list.empty() ? "" : ", ", key, count);
  std::printf("  keys of messages that play no part: %s\n", list.c_str());
}

void print_forms(const ChatNotes& notes) {
  for (const auto& [form, count] : notes.forms)
    std::printf("  %-24s %8lld read\n", described(form), static_cast<long long>(count));
}

void print_reasoning(const ChatNotes& notes) {
  if (notes.reasoning_split > 0)
    std::printf("  answers whose content held their <think> block: %lld, taken apart\n",
                static_cast<long long>(notes.reasoning_split));
  if (notes.reasoning_left > 0)
    std::printf("  answers with marks of reasoning left in their content: %lld\n",
                static_cast<long long>(notes.reasoning_left));
}

// A few documents may all fall on the side of training: then nothing measures the model.
void print_nothing_held_out(const CorpusReport& report) {
  const auto has = [&](auto&& is) {
    return std::any_of(report.files.begin(), report.files.end(),
                       [&](const auto& file) { return is(file.first); });
  };
  const bool text = has([](const std::string& name) { return name.starts_with("heldout-"); });
  const bool chat = has([](const std::string& name) { return name == "chat-heldout.jsonl"; });
  const char* what = nullptr;
  if (report.files.contains("train.jsonl") && !text) what = "document";
  if (report.files.contains("chat-train.jsonl") && !chat)
    what = what == nullptr ? "conversation" : "document or conversation";
  if (what == nullptr) return;
  std::printf(
      "  held out: no %s, so nothing can be measured; raise --heldout-fraction (of a few files a "
      "share of 0.02 may be none), or give a source with split: heldout\n",
      what);
}

void print_report(const CorpusReport& report, const std::string& out) {
  std::printf("%s %s\n", report.reused ? "already prepared:" : "prepared:", out.c_str());
  for (const auto& [name, count] : report.files) {
    std::printf("  %-24s %8lld documents  %10s\n", name.c_str(),
                static_cast<long long>(count.document_count),
                format_bytes(static_cast<double>(count.text_bytes)).c_str());
  }
  for (const auto& [language, count] : report.train) {
    std::printf("  train, %-17s %8lld documents  %10s\n", language.c_str(),
                static_cast<long long>(count.document_count),
                format_bytes(static_cast<double>(count.text_bytes)).c_str());
  }
  if (report.duplicate_count > 0)
    std::printf("  dropped: %lld exact duplicates\n",
                static_cast<long long>(report.duplicate_count));
  if (report.skipped_file_count > 0)
    std::printf("  passed over: %lld files of other kinds\n",
                static_cast<long long>(report.skipped_file_count));
  print_nothing_held_out(report);
  print_forms(report.notes);
  print_unknown_keys(report.notes.unknown_keys);
  print_reasoning(report.notes);
  if (report.bad.count() == 0) return;
  std::printf("  bad records: %lld\n", static_cast<long long>(report.bad.count()));
  for (const std::string& name : report.bad.named()) std::printf("    %s\n", name.c_str());
  if (report.bad.count() > std::ssize(report.bad.named())) std::printf("    ...\n");
}

void declare_data_prepare(Args& data) {
  auto given = std::make_shared<PrepareArgs>();
  Args& args = data.verb(
      "prepare", "text and tasks into a corpus: cleaned, counted, split into train and held-out",
      [given] {
        if (given->fields) {
          std::fputs(describe<CorpusOptions>().c_str(), stdout);
          return 0;
        }
        if (given->inputs.empty())
          fail(ErrorCode::kInvalidArgument,
               "INPUT is missing: files, folders or a .yaml configuration");
        if (given->out.empty())
          fail(ErrorCode::kInvalidArgument, "--out is missing: the folder to make");
        const CorpusOptions options = options_of(*given);
        const CorpusReport report =
            prepare_corpus(options, {.out = given->out, .force = given->force});
        print_report(report, given->out);
        return 0;
      });
  args.positionals("INPUT", given->inputs,
                   "files and folders (text, Markdown, HTML, JSONL, chat JSONL; .gz, .zst), .json "
                   "files of records, prepared corpora (their split is kept), or a .yaml "
                   "configuration",
                   /*required=*/false);
  args.option("-o,--out", given->out, "folder to make (required)");
  args.option("--language", given->language, "language of the files given here, such as ko");
  args.option("--format", given->format,
              "form of the JSONL records given here (auto, text, messages, sharegpt, alpaca, "
              "prompt_completion); auto: as their fields show");
  args.option("--heldout-fraction", given->heldout_fraction,
              "share of the files given here to hold out (0.02)");
  args.options("--set", given->changes, "FIELD=VALUE: change a field of the configuration");
  args.flag("--force", given->force,
            "replace a corpus of other inputs or options; prepare again where nothing has changed");
  args.flag("--fields", given->fields,
            "list every field of a configuration with its default and meaning");
  args.examples(
      "  dure data prepare recipes/nano/data.yaml --out runs/nano/corpus\n"
      "  dure data prepare notes/ articles.jsonl.zst --language ko --out corpus\n"
      "  dure data prepare --fields\n");
}

struct PairsArgs {
  std::string source, out;
  int64_t pairs_max = 4;
  bool groups = false;
};

void declare_data_pairs(Args& data) {
  auto given = std::make_shared<PairsArgs>();
  Args& args = data.verb("pairs", "verified answers as preferences: right over wrong", [given] {
    if (given->out.empty())
      fail(ErrorCode::kInvalidArgument, "--out is missing: the JSONL file to write");
    if (given->pairs_max < 1)
      fail(ErrorCode::kInvalidArgument, "--per-prompt is {}: at least 1", given->pairs_max);
    const PreferenceRowsReport report = write_preference_rows(
        given->source, given->out, {.pairs_max = given->pairs_max, .groups = given->groups});
    std::printf(
        "%s: %lld rows\n  %lld answers, %lld left out (cut, empty, ungraded, several turns, tool "
        "calls)\n  %lld prompts, %lld without a right answer or without a wrong one\n",
        given->out.c_str(), static_cast<long long>(report.rows),
        static_cast<long long>(report.answers), static_cast<long long>(report.skipped),
        static_cast<long long>(report.prompts), static_cast<long long>(report.one_sided));
    return 0;
  });
  args.positional(
      "SOURCE", given->source,
      "folder of `dure eval` (answers.sqlite) or `dure rl` (samples.jsonl), or the file");
  args.option("-o,--out", given->out, "JSONL file to write (required)");
  args.option("--per-prompt", given->pairs_max, "pairs of one prompt at most (4)");
  args.flag("--groups", given->groups, "a prompt's answers with their scores, for grouper");
  args.examples(
      "  dure data pairs runs/report --out pairs.jsonl\n"
      "  dure data pairs runs/nano/rl --groups --out groups.jsonl\n");
}

struct InspectArgs {
  std::string path, tokenizer, model, without_reasoning, format = "auto";
  int64_t samples = 3, sample_bytes = 400, seed = 0;
  std::optional<int64_t> line;
  bool json = false, loss = false;
};

// Languages or sources: a line is for a person, all of them are in --json.
constexpr int64_t kNamedMax = 12;

void print_counts(const char* title, const std::map<std::string, CorpusCount>& counts) {
  std::printf("  %s:", title);
  for (const auto& [name, count] : largest_counts(counts, kNamedMax)) {
    std::printf(" %s %lld (%s)", name.empty() ? "-" : name.c_str(),
                static_cast<long long>(count.document_count),
                format_bytes(static_cast<double>(count.text_bytes)).c_str());
  }
  if (std::ssize(counts) > kNamedMax)
    std::printf(" and %lld more", static_cast<long long>(std::ssize(counts) - kNamedMax));
  std::printf("\n");
}

void inspect_records(const Path& path, const InspectArgs& args, Json& out) {
  const FileSummary summary =
      summarise_records(path, args.samples, static_cast<uint64_t>(args.seed));
  if (args.json) return void(out[path.filename().string()] = to_json(summary));
  std::printf("%s: %lld documents, %s\n", path.string().c_str(),
              static_cast<long long>(summary.lengths.count()),
              format_bytes(static_cast<double>(summary.lengths.total())).c_str());
  if (summary.chat_count > 0)
    std::printf("  conversations: %lld\n", static_cast<long long>(summary.chat_count));
  print_counts("languages", summary.languages);
  print_counts("sources", summary.sources);
  std::printf(
      "  lengths, from %lld to %lld bytes:\n%s", static_cast<long long>(summary.lengths.shortest()),
      static_cast<long long>(summary.lengths.longest()), summary.lengths.chart("bytes").c_str());
  for (const Record& record : summary.samples) {
    const std::string text = shortened(record.is_chat() ? record.messages : record.text,
                                       static_cast<size_t>(args.sample_bytes));
    std::printf("  --- %s [%s]\n%s\n", record.source.c_str(), record.language.c_str(),
                text.c_str());
  }
}

void print_shard_samples(const Shard& shard, const InspectArgs& args) {
  const Tokenizer tokenizer = load_tokenizer(args.tokenizer);
  if (xxh64(tokenizer.to_json()) != shard.header().tokenizer_hash)
    log_warn("{} is not the tokenizer this shard was made with", args.tokenizer);
  Rng rng(static_cast<uint64_t>(args.seed), stream_id("inspect samples"));
  TokenDocument document;
  for (int64_t i = 0; i < std::min(args.samples, shard.document_count()); ++i) {
    const int64_t index = rng.below(shard.document_count());
    shard.read(index, document);
    std::printf("  --- document %lld, %zu tokens%s\n%s\n", static_cast<long long>(index),
                document.ids.size(), document.trained.empty() ? "" : ", trained [[so]]",
                shortened(marked_text(document, tokenizer), static_cast<size_t>(args.sample_bytes))
                    .c_str());
  }
}

void inspect_shard(const Path& path, const InspectArgs& args, Json& out) {
  const Shard shard(path);
  shard.verify(INT32_MAX);
  const ShardSummary summary = summarise_shard(shard);
  const double bytes_a_token = static_cast<double>(shard.header().text_bytes) /
                               static_cast<double>(std::max<int64_t>(shard.token_count(), 1));
  if (args.json) {
    Json& entry = out[path.filename().string()];
    entry["tokens"] = shard.token_count();
    entry["trained_tokens"] = summary.trained_tokens;
    entry["text_bytes"] = static_cast<int64_t>(shard.header().text_bytes);
    entry["tokenizer_hash"] = fmt::format("{:016x}", shard.header().tokenizer_hash);
    entry["tokens_a_document"] = summary.lengths.to_json();
    return;
  }
  std::printf(
      "%s: %lld documents, %lld tokens (%lld trained), %s of text, %.2f bytes a token, tokenizer "
      "%016llx\n",
      path.string().c_str(), static_cast<long long>(shard.document_count()),
      static_cast<long long>(shard.token_count()), static_cast<long long>(summary.trained_tokens),
      format_bytes(static_cast<double>(shard.header().text_bytes)).c_str(), bytes_a_token,
      static_cast<unsigned long long>(shard.header().tokenizer_hash));
  std::printf("  lengths, from %lld to %lld tokens:\n%s",
              static_cast<long long>(summary.lengths.shortest()),
              static_cast<long long>(summary.lengths.longest()),
              summary.lengths.chart("tokens").c_str());
  if (!args.tokenizer.empty()) print_shard_samples(shard, args);
}

void inspect_rollouts(const Path& file, const InspectArgs& args, Json& out) {
  const std::vector<Json> samples = read_json_lines(file);
  const RolloutCounts counts = count_rollouts(samples);
  if (args.json) {
    Json& entry = out[file.filename().string()];
    entry["rollouts"] = counts.rollouts;
    entry["steps"] = counts.steps;
    entry["conversations"] = counts.conversations;
    entry["turns_mean"] = counts.turns_mean;
    entry["dropped"] = counts.dropped;
    entry["failed"] = counts.failed;
    entry["first_reward"] = counts.first_reward;
    entry["last_reward"] = counts.last_reward;
    return;
  }
  std::fputs(
      fmt::format("{}: {} rollouts of {} steps, {} of them conversations of {:.1f} turns; {} "
                  "dropped, {} failed; mean reward {:.3f} in the first step, {:.3f} in the "
                  "last\n",
                  file.string(), counts.rollouts, counts.steps, counts.conversations,
                  counts.turns_mean, counts.dropped, counts.failed, counts.first_reward,
                  counts.last_reward)
          .c_str(),
      stdout);
  for (const Json* sample : spread_rollouts(samples, args.samples))
    std::fputs(rollout_text(*sample, static_cast<size_t>(args.sample_bytes)).c_str(), stdout);
}

int inspect(const InspectArgs& args) {
  if (args.samples < 0 || args.sample_bytes < 0)
    fail(ErrorCode::kInvalidArgument, "--samples and --sample-bytes must not be negative");
  if (args.loss) {
    inspect_loss({.path = args.path,
                  .model = args.model,
                  .without_reasoning = args.without_reasoning,
                  .format = args.format,
                  .rows = args.samples,
                  .line = args.line,
                  .json = args.json});
    return 0;
  }
  const Path path(args.path);
  Json out = Json::object();
  if (const Path rollouts = rollout_file(path); !rollouts.empty()) {
    inspect_rollouts(rollouts, args, out);
  } else if (std::filesystem::is_directory(path)) {
    const Json manifest = corpus_manifest(path);
    for (const auto& [name, entry] : manifest.at("files").as_object())
      inspect_records(path / name, args, out);
    if (args.json) {
      out["bad_records"] = manifest.at("bad_records");
      out["duplicates"] = manifest.at("duplicates");
    }
  } else if (path.extension() == ".shard") {
    inspect_shard(path, args, out);
  } else {
    inspect_records(path, args, out);
  }
  if (args.json) std::printf("%s\n", out.dump(2).c_str());
  return 0;
}

void declare_data_inspect(Args& data) {
  auto given = std::make_shared<InspectArgs>();
  Args& args =
      data.verb("inspect",
                "counts, languages, lengths and samples of a corpus, a JSONL file or a token shard",
                [given] { return inspect(*given); });
  args.positional("PATH", given->path,
                  "a prepared folder, a .jsonl file (also .gz, .zst), a .shard, or the folder of a "
                  "`dure rl` run (its samples.jsonl): rollouts");
  args.option("--tokenizer", given->tokenizer,
              "for a shard: a tokenizer.json or its folder, to show documents as text");
  args.option("--samples", given->samples, "documents to show");
  args.option("--sample-bytes", given->sample_bytes, "bytes of each to show");
  args.option("--seed", given->seed, "which ones");
  args.flag("--json", given->json, "numbers as JSON");
  args.flag("--loss", given->loss,
            "which tokens of the first rows would be learnt: in green, or between [[ and ]]; "
            "conversations of any form, texts, preferences");
  args.option("--model", given->model,
              "with --loss: the model to train, whose tokenizer and chat template decide");
  args.option("--line", given->line, "with --loss: this row alone");
  args.option("--format", given->format,
              "with --loss: form of the records (auto: as their fields show)");
  args.option("--without-reasoning", given->without_reasoning,
              "with --loss: what answers without reasoning follow, off, on or both "
              "(data.without_reasoning; both, of preferences off)");
  args.examples(
      "  dure data inspect runs/nano/corpus\n"
      "  dure data inspect runs/own-task --samples 5\n"
      "  dure data inspect runs/nano/pretrain/cache/train-*.shard --tokenizer "
      "runs/nano/tokenizer\n"
      "  dure data inspect mine.jsonl --loss --model runs/nano/sft/model\n");
}

}  // namespace

std::function<int()> declare_data(Args& args) {
  declare_data_prepare(args);
  declare_data_inspect(args);
  declare_data_pairs(args);
  return {};
}

}  // namespace dure
