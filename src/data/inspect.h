// data/inspect.h: what a prepared corpus, a JSONL file or a token shard holds, in numbers and
// samples.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/corpus.h"
#include "data/shard.h"
#include "text/tokenizer.h"

namespace dure {

// Lengths by powers of two: bucket b counts lengths in [2^b, 2^(b+1)).
class LengthHistogram {
 public:
  void add(int64_t length);  // Checked: length >= 1.
  int64_t count() const { return count_; }
  int64_t total() const { return total_; }
  int64_t shortest() const { return shortest_; }
  int64_t longest() const { return longest_; }
  const std::map<int, int64_t>& buckets() const { return buckets_; }
  Json to_json() const;
  std::string chart(const char* unit) const;  // A line a bucket: range, count, a bar of '#'.

 private:
  std::map<int, int64_t> buckets_;
  int64_t count_ = 0, total_ = 0, shortest_ = 0, longest_ = 0;
};

struct FileSummary {
  std::map<std::string, CorpusCount> languages;
  std::map<std::string, CorpusCount> sources;  // By the first part of "source": "manual",
                                               // "tasks", a file without its line.
  LengthHistogram lengths;                     // Bytes a document.
  std::vector<Record> samples;                 // Drawn evenly over the file, in order.
  int64_t chat_count = 0;
};

// All of them by name, or the `count_max` with the most documents, those first.
std::vector<std::pair<std::string, CorpusCount>> largest_counts(
    const std::map<std::string, CorpusCount>& counts, int64_t count_max);

// Reads a JSONL file once. Throws as for_each_record().
FileSummary summarise_records(const Path& jsonl, int64_t sample_count, uint64_t seed);
Json to_json(const FileSummary& summary);

struct ShardSummary {
  LengthHistogram lengths;  // Tokens a document.
  int64_t trained_tokens = 0;
};
ShardSummary summarise_shard(const Shard& shard);

// The text of a document with its trained stretches between "[[" and "]]"; unmarked where all is
// trained.
std::string marked_text(const TokenDocument& document, const Tokenizer& tokenizer);

// At most `bytes_max` bytes of `text`, cut at a character and ended with "..." where anything is
// left out.
std::string shortened(const std::string& text, size_t bytes_max);

}  // namespace dure
