// Counts, lengths and samples of records and shards.
#include "data/inspect.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/rng.h"
#include "base/utf8.h"

namespace dure {
namespace {

Json count_json(const CorpusCount& count) {
  Json json = Json::object();
  json["documents"] = count.document_count;
  json["text_bytes"] = count.text_bytes;
  return json;
}

Json counts_json(const std::map<std::string, CorpusCount>& counts) {
  Json json = Json::object();
  for (const auto& [name, count] : counts) json[name] = count_json(count);
  return json;
}

void count_in(CorpusCount& count, int64_t bytes) {
  count.document_count += 1;
  count.text_bytes += bytes;
}

// "manual" of "manual/ko/ch01.html", "notes.jsonl" of "notes.jsonl:17".
std::string source_name(const std::string& source) {
  std::string name = source.substr(0, source.find('/'));
  const size_t colon = name.rfind(':');
  const bool line = colon != std::string::npos && colon + 1 < name.size() &&
                    name.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  return line ? name.substr(0, colon) : name;
}

}  // namespace

std::vector<std::pair<std::string, CorpusCount>> largest_counts(
    const std::map<std::string, CorpusCount>& counts, int64_t count_max) {
  std::vector<std::pair<std::string, CorpusCount>> out(counts.begin(), counts.end());
  if (std::ssize(out) <= count_max) return out;
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.second.document_count > b.second.document_count;
  });
  out.resize(static_cast<size_t>(count_max));
  return out;
}

void LengthHistogram::add(int64_t length) {
  DURE_CHECK(length >= 1, "length {}", length);
  buckets_[std::bit_width(static_cast<uint64_t>(length)) - 1] += 1;
  shortest_ = count_ == 0 ? length : std::min(shortest_, length);
  longest_ = std::max(longest_, length);
  count_ += 1;
  total_ += length;
}

Json LengthHistogram::to_json() const {
  Json json = Json::object();
  json["count"] = count_;
  json["total"] = total_;
  json["shortest"] = shortest_;
  json["longest"] = longest_;
  Json buckets = Json::object();
  for (const auto& [bucket, count] : buckets_)
    buckets[std::to_string(int64_t{1} << bucket)] = count;
  json["from_power_of_two"] = buckets;
  return json;
}

std::string LengthHistogram::chart(const char* unit) const {
  int64_t most = 1;
  for (const auto& [bucket, count] : buckets_) most = std::max(most, count);
  std::string out;
  for (const auto& [bucket, count] : buckets_) {
    const int64_t low = int64_t{1} << bucket;
    out += fmt::format("    {:>8} .. {:<8} {} {:>9}  {}\n", low, 2 * low - 1, unit, count,
                       std::string(static_cast<size_t>((40 * count + most - 1) / most), '#'));
  }
  return out;
}

FileSummary summarise_records(const Path& jsonl, int64_t sample_count, uint64_t seed) {
  FileSummary summary;
  Rng rng(seed, stream_id("inspect samples"));
  int64_t index = 0;
  for_each_record(jsonl, [&](const Record& record) {
    const int64_t bytes = std::ssize(record.is_chat() ? record.messages : record.text);
    summary.lengths.add(bytes);
    summary.chat_count += record.is_chat();
    count_in(summary.languages[record.language.empty() ? "und" : record.language], bytes);
    count_in(summary.sources[source_name(record.source)], bytes);
    ++index;  // Reservoir sampling: each record stays with the same chance.
    if (std::ssize(summary.samples) < sample_count) {
      summary.samples.push_back(record);
    } else if (const int64_t place = rng.below(index); place < sample_count) {
      summary.samples.erase(summary.samples.begin() + place);
      summary.samples.push_back(record);
    }
  });
  return summary;
}

Json to_json(const FileSummary& summary) {
  Json json = Json::object();
  json["documents"] = summary.lengths.count();
  json["conversations"] = summary.chat_count;
  json["languages"] = counts_json(summary.languages);
  json["sources"] = counts_json(summary.sources);
  json["bytes_a_document"] = summary.lengths.to_json();
  return json;
}

ShardSummary summarise_shard(const Shard& shard) {
  ShardSummary summary;
  for (int64_t i = 0; i < shard.document_count(); ++i)
    summary.lengths.add(shard.document_tokens(i));
  summary.trained_tokens = shard.trained_token_count();
  return summary;
}

std::string marked_text(const TokenDocument& document, const Tokenizer& tokenizer) {
  if (document.trained.empty()) return tokenizer.decode(document.ids);
  std::string out;
  for (size_t begin = 0; begin < document.ids.size();) {
    size_t end = begin + 1;
    while (end < document.ids.size() && document.trained[end] == document.trained[begin]) ++end;
    const std::string text = tokenizer.decode(std::span(document.ids).subspan(begin, end - begin));
    out += document.trained[begin] != 0 ? "[[" + text + "]]" : text;
    begin = end;
  }
  return out;
}

std::string shortened(const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  return text.substr(0, utf8_start(text, bytes_max)) + "...";
}

}  // namespace dure
