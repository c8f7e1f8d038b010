// Which sources and held-out sets a configuration means.
#include "train/train_data.h"

#include <algorithm>

#include "base/error.h"
#include "data/corpus.h"
#include "data/pieces.h"
#include "data/sft.h"
#include "data/tokenise.h"

namespace dure {
namespace {

constexpr int64_t kHeldoutProblemsPerCell = 2;  // A cell is a task in a language.

Path cache_of(const TrainConfig& config) { return Path(config.output) / "cache"; }

WeightedSource pieces_of(const TrainConfig& config, const Path& corpus, double weight,
                         const Tokenizer& tokenizer, const std::string& name) {
  const auto shard = tokenise_corpus(train_file(corpus), tokenizer, cache_of(config));
  return {std::make_shared<PiecedDocuments>(shard, config.batch.tokens), weight, name};
}

// The corpus's text in pieces of a row at most.
WeightedSource text_source(const TrainConfig& config, double weight, const Tokenizer& tokenizer,
                           const std::string& source) {
  const std::string& corpus = config.data.corpus;
  if (corpus.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: data.corpus is empty: name a folder made by `dure data prepare`", source);
  corpus_manifest(corpus);  // Says what to do where the folder is no corpus.
  return pieces_of(config, corpus, weight, tokenizer, corpus);
}

bool is_sft(const TrainConfig& config) { return config.stage == TrainStage::kSft; }

std::shared_ptr<const DocumentSource> fitted(const TrainConfig& config,
                                             std::shared_ptr<const DocumentSource> documents,
                                             const std::string& name) {
  return fit_rows(
      std::move(documents),
      {.row_tokens = config.batch.tokens, .too_long = config.data.too_long, .name = name});
}

std::string place_of(const std::string& source, size_t index) {
  return fmt::format("{}: data.corpora[{}]", source, index);
}

WeightedSource entry_source(const TrainConfig& config, const CorpusEntry& entry, CorpusPart part,
                            const TrainingFormat& format) {
  WeightedSource out;
  if (part == CorpusPart::kText) {
    out = pieces_of(config, entry.path, 1, format.tokenizer(), entry.name);
  } else {
    const Path chat = Path(entry.path) / "chat-train.jsonl";
    out = {fitted(config, load_conversations(chat, format), entry.name), 1, entry.name};
  }
  if (entry.weight > 0) out.weight = entry.weight;
  out.draws_max = draws_of(entry.epochs, out.documents->document_count());
  return out;
}

int64_t tokens_of(const DocumentSource& documents) {
  TokenDocument document;
  int64_t tokens = 0;
  for (int64_t i = 0; i < documents.document_count(); ++i) {
    documents.read(i, document);
    tokens += std::ssize(document.ids);
  }
  return tokens;
}

// By epochs times tokens, 1 on average: all end together.
void weigh_by_size(std::vector<WeightedSource>& sources) {
  double sum = 0;
  for (WeightedSource& source : sources) {
    const auto count = static_cast<double>(source.documents->document_count());
    source.weight = static_cast<double>(source.draws_max) / count *
                    static_cast<double>(std::max<int64_t>(1, tokens_of(*source.documents)));
    sum += source.weight;
  }
  for (WeightedSource& source : sources) source.weight *= static_cast<double>(sources.size()) / sum;
}

std::vector<WeightedSource> entry_sources(const TrainConfig& config, const TrainingFormat& format,
                                          const std::string& source) {
  std::vector<WeightedSource> out;
  bool by_size = true;
  for (size_t i = 0; i < config.data.corpora.size(); ++i) {
    const CorpusEntry& entry = config.data.corpora[i];
    const CorpusPart part = part_of(entry, is_sft(config), place_of(source, i));
    out.push_back(entry_source(config, entry, part, format));
    by_size = by_size && entry.weight == 0 && entry.epochs > 0;
  }
  if (by_size && !out.empty()) weigh_by_size(out);
  return out;
}

// Beside generated problems, a corpus by a mistaken name would be missed by nobody.
void check_corpus_folder(const std::string& corpus) {
  if (corpus.empty() || std::filesystem::is_directory(corpus)) return;
  if (!path_exists(corpus)) fail(ErrorCode::kNotFound, "data.corpus: no folder {}", corpus);
  fail(ErrorCode::kInvalidArgument,
       "data.corpus: {} is a file, a folder of `dure data prepare` is needed (data.corpora takes "
       "files)",
       corpus);
}

std::vector<WeightedSource> conversation_sources(const TrainConfig& config,
                                                 const TrainingFormat& format) {
  std::vector<WeightedSource> out;
  const TrainDataOptions& data = config.data;
  check_corpus_folder(data.corpus);
  const Path chat = Path(data.corpus) / "chat-train.jsonl";
  if (!data.corpus.empty() && path_exists(chat))
    out.push_back(
        {fitted(config, load_conversations(chat, format), chat.string()), 1, data.corpus});
  if (data.tasks_weight > 0) {
    const auto problems = problem_conversations(data.tasks, static_cast<uint64_t>(config.seed),
                                                data.tasks_limit, format);
    out.push_back({fitted(config, problems, "data.tasks"), data.tasks_weight, "tasks"});
  }
  return out;
}

void add_heldout_texts(const TrainConfig& config, const Path& corpus, const std::string& prefix,
                       const Tokenizer& tokenizer, std::vector<HeldoutSet>& out) {
  for (const std::string& language : heldout_languages(corpus)) {
    const Path file = heldout_file(corpus, language);
    if (dure::file_size(file) > 0)
      out.push_back({prefix + language, tokenise_corpus(file, tokenizer, cache_of(config))});
  }
}

void add_heldout_entries(const TrainConfig& config, const TrainingFormat& format,
                         std::vector<HeldoutSet>& out) {
  for (const CorpusEntry& entry : config.data.corpora) {
    const CorpusPart part = part_of(entry, is_sft(config), entry.name);
    const Path chat = Path(entry.path) / "chat-heldout.jsonl";
    if (part == CorpusPart::kText) {
      add_heldout_texts(config, entry.path, entry.name + "_", format.tokenizer(), out);
    } else if (path_exists(chat) && dure::file_size(chat) > 0) {
      out.push_back({entry.name, load_conversations(chat, format)});
    }
  }
}

std::vector<HeldoutSet> heldout_conversations(const TrainDataOptions& data,
                                              const TrainingFormat& format) {
  std::vector<HeldoutSet> out;
  if (data.tasks_weight > 0)
    out.push_back(
        {"tasks", heldout_problem_conversations(data.tasks, 1, kHeldoutProblemsPerCell, format)});
  const Path chat = Path(data.corpus) / "chat-heldout.jsonl";
  if (!data.corpus.empty() && path_exists(chat) && dure::file_size(chat) > 0)
    out.push_back({"chat", load_conversations(chat, format)});
  return out;
}

}  // namespace

std::vector<WeightedSource> open_sources(const TrainConfig& config, const TrainingFormat& format,
                                         const std::string& source) {
  std::vector<WeightedSource> out = entry_sources(config, format, source);
  if (!is_sft(config)) {
    if (out.empty()) out.push_back(text_source(config, 1, format.tokenizer(), source));
    return out;
  }
  for (WeightedSource& more : conversation_sources(config, format)) out.push_back(std::move(more));
  if (out.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "{}: sft has no data: set data.tasks_weight, data.corpus to a folder with "
         "chat-train.jsonl, or data.corpora to files of conversations",
         source);
  }
  if (config.data.text_weight > 0)
    out.push_back(text_source(config, config.data.text_weight, format.tokenizer(), source));
  return out;
}

std::vector<HeldoutSet> open_heldout(const TrainConfig& config, const TrainingFormat& format) {
  std::vector<HeldoutSet> out;
  if (is_sft(config)) {
    out = heldout_conversations(config.data, format);
  } else if (!config.data.corpus.empty()) {
    add_heldout_texts(config, config.data.corpus, "", format.tokenizer(), out);
  }
  add_heldout_entries(config, format, out);
  return out;
}

void add_source_counts(const BatchSource& batches, Json& row) {
  for (size_t i = 0; i < batches.given().size(); ++i) {
    const SourceGiven& given = batches.given()[i];
    const WeightedSource& source = batches.source(i);
    const int64_t count = source.documents->document_count();
    row["sources/" + source.name + "/tokens"] = given.tokens;
    if (count != DocumentSource::kEndless)
      row["sources/" + source.name + "/epochs"] =
          static_cast<double>(given.documents) / static_cast<double>(count);
  }
}

void drop_padding(TrainBatch& batch, int32_t pad_id) {
  const auto is_pad = [&](int32_t id) { return id == pad_id; };
  const auto is_ignored = [](int32_t target) { return target == kIgnoredTarget; };
  int64_t to = 0;
  int64_t from = 0;
  size_t kept = 0;
  for (const int64_t length : batch.document_lengths) {
    const auto ids = batch.ids.begin() + from;
    const auto targets = batch.targets.begin() + from;
    from += length;
    if (std::all_of(ids, ids + length, is_pad) &&
        std::all_of(targets, targets + length, is_ignored))
      continue;
    std::copy(ids, ids + length, batch.ids.begin() + to);
    std::copy(targets, targets + length, batch.targets.begin() + to);
    batch.document_lengths[kept++] = length;
    to += length;
  }
  batch.ids.resize(static_cast<size_t>(to));
  batch.targets.resize(static_cast<size_t>(to));
  batch.document_lengths.resize(kept);
}

}  // namespace dure
