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

// The corpus's text in pieces of a row at most.
WeightedSource text_source(const TrainConfig& config, double weight, const Tokenizer& tokenizer,
                           const std::string& source) {
  const std::string& corpus = config.data.corpus;
  if (corpus.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: data.corpus is empty: name a folder made by `dure data prepare`", source);
  corpus_manifest(corpus);  // Says what to do where the folder is no corpus.
  const auto shard = tokenise_corpus(train_file(corpus), tokenizer, cache_of(config));
  return {std::make_shared<PiecedDocuments>(shard, config.batch.tokens), weight, corpus};
}

std::vector<WeightedSource> conversation_sources(const TrainConfig& config,
                                                 const TrainingFormat& format) {
  std::vector<WeightedSource> out;
  const TrainDataOptions& data = config.data;
  const auto fitted = [&](std::shared_ptr<const DocumentSource> documents,
                          const std::string& name) {
    return fit_rows(std::move(documents),
                    {.row_tokens = config.batch.tokens, .too_long = data.too_long, .name = name});
  };
  const Path chat = Path(data.corpus) / "chat-train.jsonl";
  if (!data.corpus.empty() && path_exists(chat))
    out.push_back({fitted(load_conversations(chat, format), chat.string()), 1, data.corpus});
  if (data.tasks_weight > 0) {
    out.push_back({fitted(problem_conversations(data.tasks, static_cast<uint64_t>(config.seed),
                                                data.tasks_limit, format),
                          "data.tasks"),
                   data.tasks_weight, "tasks"});
  }
  return out;
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
  if (config.stage != TrainStage::kSft) return {text_source(config, 1, format.tokenizer(), source)};
  std::vector<WeightedSource> out = conversation_sources(config, format);
  if (out.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "{}: sft has no data: set data.tasks_weight, or data.corpus to a folder with "
         "chat-train.jsonl",
         source);
  }
  if (config.data.text_weight > 0)
    out.push_back(text_source(config, config.data.text_weight, format.tokenizer(), source));
  return out;
}

std::vector<HeldoutSet> open_heldout(const TrainConfig& config, const TrainingFormat& format) {
  if (config.stage == TrainStage::kSft) return heldout_conversations(config.data, format);
  std::vector<HeldoutSet> out;
  for (const std::string& language : heldout_languages(config.data.corpus)) {
    const Path file = heldout_file(config.data.corpus, language);
    if (dure::file_size(file) > 0)
      out.push_back({language, tokenise_corpus(file, format.tokenizer(), cache_of(config))});
  }
  return out;
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
