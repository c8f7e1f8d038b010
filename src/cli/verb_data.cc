// `dure data prepare|inspect`: corpora for training, and what is in them.
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "data/corpus.h"

namespace dure {
namespace {

struct PrepareArgs {
  std::vector<std::string> inputs, changes;
  std::string out;
  std::optional<std::string> language;
  std::optional<double> heldout_fraction;
  bool force = false;
};

bool is_yaml(const std::string& name) { return name.ends_with(".yaml") || name.ends_with(".yml"); }

// The configuration file among the inputs, changed by --set; the other inputs become one more source.
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
  from_json(options, json, where);
  if (args.language) files.language = *args.language;
  if (args.heldout_fraction) files.heldout_fraction = *args.heldout_fraction;
  if (!(files.heldout_fraction >= 0 && files.heldout_fraction <= 1)) {
    fail(ErrorCode::kInvalidArgument, "--heldout-fraction is {}: it must be from 0 to 1", files.heldout_fraction);
  }
  if (!files.paths.empty()) options.sources.push_back(files);
  check_corpus_options(options, where);
  return options;
}

void print_report(const CorpusReport& report, const std::string& out) {
  std::printf("%s %s\n", report.reused ? "already prepared:" : "prepared:", out.c_str());
  for (const auto& [name, count] : report.files) {
    std::printf("  %-24s %8lld documents  %10s\n", name.c_str(), static_cast<long long>(count.document_count),
                format_bytes(static_cast<double>(count.text_bytes)).c_str());
  }
  for (const auto& [language, count] : report.train) {
    std::printf("  train, %-17s %8lld documents  %10s\n", language.c_str(), static_cast<long long>(count.document_count),
                format_bytes(static_cast<double>(count.text_bytes)).c_str());
  }
  if (report.duplicate_count > 0) std::printf("  dropped: %lld exact duplicates\n", static_cast<long long>(report.duplicate_count));
  if (report.skipped_file_count > 0) std::printf("  passed over: %lld files of other kinds\n", static_cast<long long>(report.skipped_file_count));
  if (report.bad.count() == 0) return;
  std::printf("  bad records: %lld\n", static_cast<long long>(report.bad.count()));
  for (const std::string& name : report.bad.named()) std::printf("    %s\n", name.c_str());
  if (report.bad.count() > std::ssize(report.bad.named())) std::printf("    ...\n");
}

void declare_prepare(Args& data) {
  auto given = std::make_shared<PrepareArgs>();
  Args& args = data.verb("prepare", "text and tasks into a corpus: cleaned, counted, split into train and held-out", [given] {
    const CorpusOptions options = options_of(*given);
    const CorpusReport report = prepare_corpus(options, {.out = given->out, .force = given->force});
    print_report(report, given->out);
    return 0;
  });
  args.positionals("INPUT", given->inputs, "files and folders (text, Markdown, HTML, JSONL, chat JSONL; .gz, .zst), or a .yaml configuration");
  args.option("-o,--out", given->out, "folder to make (required)");
  args.option("--language", given->language, "language of the files given here, such as ko");
  args.option("--heldout-fraction", given->heldout_fraction, "share of the files given here to hold out (0.02)");
  args.options("--set", given->changes, "FIELD=VALUE: change a field of the configuration");
  args.flag("--force", given->force, "prepare again even where nothing has changed");
  args.examples(
      "  dure data prepare recipes/nano/data.yaml --out runs/nano/corpus\n"
      "  dure data prepare notes/ articles.jsonl.zst --language ko --out corpus\n");
}

}  // namespace

std::function<int()> declare_data(Args& args) {
  declare_prepare(args);
  return {};
}

}  // namespace dure
