// Documents are encoded by all threads in batches and written in their order: a shard does not
// depend on the number of threads. One that is there already is verified and used.
#include "data/tokenise.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "data/corpus.h"

namespace dure {
namespace {

constexpr size_t kTogether = 256;  // Documents encoded between two looks at the progress bar.

void encode_batch(const std::vector<std::string>& texts, const Tokenizer& tokenizer,
                  ThreadPool& pool, std::vector<EncodeScratch>& scratch, ShardWriter& writer) {
  std::vector<TokenDocument> documents(texts.size());
  pool.parallel_for(static_cast<int64_t>(texts.size()), [&](int64_t i, int worker) {
    encode_document(texts[static_cast<size_t>(i)], tokenizer, scratch[static_cast<size_t>(worker)],
                    documents[static_cast<size_t>(i)].ids);
  });
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!documents[i].ids.empty()) writer.add(documents[i], static_cast<int64_t>(texts[i].size()));
  }
}

// The shard of an earlier run, or nothing: where there is none, or its bytes were damaged since (it
// is made again).
std::shared_ptr<const Shard> kept_shard(const Path& path, const Tokenizer& tokenizer) {
  if (!path_exists(path)) return nullptr;
  try {
    auto shard = std::make_shared<Shard>(path);
    shard->verify(tokenizer.vocab_size());
    return shard;
  } catch (const Error& error) {
    log_warn("{}; tokenising again", error.what());
    return nullptr;
  }
}

}  // namespace

void encode_document(const std::string& text, const Tokenizer& tokenizer, EncodeScratch& scratch,
                     std::vector<int32_t>& ids) {
  tokenizer.encode_to(text, {.special_as_text = true}, ids, scratch);
  const auto end = tokenizer.eos_id();  // Once, where the tokenizer puts it there itself.
  if (end && (ids.empty() || ids.back() != *end)) ids.push_back(*end);
}

std::shared_ptr<const Shard> tokenise_corpus(const Path& jsonl, const Tokenizer& tokenizer,
                                             const Path& cache_folder) {
  const MappedFile file(jsonl);
  const uint64_t tokenizer_hash = xxh64(tokenizer.to_json());
  const Path path = cache_folder / fmt::format("{}-{:016x}-{:016x}.shard", jsonl.stem().string(),
                                               xxh64(file.text()), tokenizer_hash);
  if (auto kept = kept_shard(path, tokenizer)) return kept;
  ThreadPool pool;
  std::vector<EncodeScratch> scratch(static_cast<size_t>(pool.thread_count()));
  ShardWriter writer(tokenizer_hash);
  Progress progress("tokenise " + jsonl.filename().string(),
                    static_cast<int64_t>(file.text().size()), "bytes");
  std::vector<std::string> texts;
  int64_t bytes = 0;
  for_each_record(jsonl, [&](const Record& record) {
    bytes += static_cast<int64_t>(record.text.size());
    texts.push_back(record.text);
    if (texts.size() < kTogether) return;
    encode_batch(texts, tokenizer, pool, scratch, writer);
    texts.clear();
    progress.update(bytes);
  });
  encode_batch(texts, tokenizer, pool, scratch, writer);
  make_folders(cache_folder);
  writer.commit(path);
  progress.update(static_cast<int64_t>(file.text().size()));
  progress.finish(
      fmt::format("{} tokens", format_count(static_cast<double>(writer.token_count()))));
  return std::make_shared<Shard>(path);
}

}  // namespace dure
