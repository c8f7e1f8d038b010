// The writer gathers a shard in memory and writes it at once; the reader maps it, believes no size
// in it, and copies documents out. Hash and ids take a pass over all bytes: verify() alone does it.
#include "data/shard.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"

namespace dure {
namespace {

uint64_t padded(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

struct Sections {
  uint64_t ids, bits, starts, end;  // Offsets in the file.
};

// Sizes come from the file: the caller has bounded them by its length.
Sections sections_of(const ShardHeader& header) {
  const uint64_t bits_bytes =
      (header.flags & kShardHasTrainedBits) != 0 ? padded((header.token_count + 7) / 8) : 0;
  const uint64_t bits = sizeof(ShardHeader) + padded(header.token_count * 4);
  const uint64_t starts = bits + bits_bytes;
  return {sizeof(ShardHeader), bits, starts, starts + (header.document_count + 1) * 8};
}

template <typename T>
void append_padded(std::string& out, const std::vector<T>& values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  out.resize(padded(out.size()), '\0');
}

}  // namespace

void ShardWriter::add(const TokenDocument& document, int64_t text_bytes) {
  DURE_CHECK(!document.ids.empty(), "an empty document");
  DURE_CHECK(document.trained.empty() || document.trained.size() == document.ids.size(),
             "{} marks for {} ids", document.trained.size(), document.ids.size());
  for (size_t i = 0; i < document.ids.size(); ++i) {
    DURE_CHECK(document.ids[i] >= 0, "token id {}", document.ids[i]);
    if (ids_.size() % 8 == 0) bits_.push_back(0);
    const bool trained = document.is_trained(i);
    if (trained) bits_.back() |= static_cast<uint8_t>(1u << (ids_.size() % 8));
    masked_ = masked_ || !trained;
    ids_.push_back(static_cast<uint32_t>(document.ids[i]));
  }
  starts_.push_back(ids_.size());
  text_bytes_ += text_bytes;
}

void ShardWriter::commit(const Path& path) const {
  std::string content;
  append_padded(content, ids_);
  if (masked_) append_padded(content, bits_);
  append_padded(content, starts_);
  const ShardHeader header{.flags = masked_ ? kShardHasTrainedBits : 0,
                           .token_count = ids_.size(),
                           .document_count = starts_.size() - 1,
                           .tokenizer_hash = tokenizer_hash_,
                           .text_bytes = static_cast<uint64_t>(text_bytes_),
                           .content_hash = xxh64(content)};
  StagedFile file(path);
  file.write(&header, sizeof(header));
  file.write(content);
  file.commit();
}

Shard::Shard(const Path& path) : map_(path) {
  const std::string_view bytes = map_.text();
  const std::string name = path.string();
  if (bytes.size() < sizeof(ShardHeader))
    fail(ErrorCode::kCorrupt, "{}: {} bytes: too short for a token shard", name, bytes.size());
  std::memcpy(&header_, bytes.data(), sizeof(header_));
  if (std::memcmp(header_.magic, ShardHeader().magic, 8) != 0)
    fail(ErrorCode::kCorrupt, "{}: not a token shard (it does not begin with DURESHRD)", name);
  if (header_.version != 1)
    fail(ErrorCode::kUnsupported, "{}: shard version {}; this program reads version 1", name,
         header_.version);
  if ((header_.flags & ~kShardHasTrainedBits) != 0 || header_.reserved != 0)
    fail(ErrorCode::kUnsupported, "{}: unknown shard flags", name);
  const bool sane =
      header_.token_count <= bytes.size() / 4 && header_.document_count <= bytes.size() / 8;
  if (!sane || sections_of(header_).end != bytes.size()) {
    fail(ErrorCode::kCorrupt,
         "{}: {} bytes do not hold the {} tokens and {} documents it states: truncated or damaged",
         name, bytes.size(), header_.token_count, header_.document_count);
  }
  const Sections at = sections_of(header_);
  ids_ = {reinterpret_cast<const uint32_t*>(bytes.data() + at.ids), header_.token_count};
  if (at.starts > at.bits)
    bits_ = {reinterpret_cast<const uint8_t*>(bytes.data() + at.bits), at.starts - at.bits};
  starts_ = {reinterpret_cast<const uint64_t*>(bytes.data() + at.starts),
             header_.document_count + 1};
  bool rising = starts_.front() == 0 && starts_.back() == header_.token_count;
  for (size_t i = 1; rising && i < starts_.size(); ++i) rising = starts_[i - 1] < starts_[i];
  if (!rising)
    fail(ErrorCode::kCorrupt, "{}: its document starts do not rise from 0 to {}", name,
         header_.token_count);
}

int64_t Shard::document_tokens(int64_t index) const {
  DURE_CHECK(index >= 0 && index < document_count(), "document {} of {}", index, document_count());
  return static_cast<int64_t>(starts_[static_cast<size_t>(index) + 1] -
                              starts_[static_cast<size_t>(index)]);
}

void Shard::read(int64_t index, TokenDocument& out) const {
  const size_t count = static_cast<size_t>(document_tokens(index)),
               start = starts_[static_cast<size_t>(index)];
  out.ids.resize(count);
  std::memcpy(out.ids.data(), ids_.data() + start, count * 4);
  out.trained.clear();
  if (bits_.empty()) return;
  out.trained.resize(count);
  for (size_t i = 0; i < count; ++i)
    out.trained[i] = bits_[(start + i) / 8] >> ((start + i) % 8) & 1;
}

int64_t Shard::trained_token_count() const {
  if (bits_.empty()) return token_count();
  int64_t count = 0;
  for (const uint8_t byte : bits_)
    count += std::popcount(byte);  // Bits of the padding are 0 (verify()).
  return count;
}

void Shard::verify(int64_t vocab_size) const {
  const std::string_view content = map_.text().substr(sizeof(ShardHeader));
  if (xxh64(content) != header_.content_hash)
    fail(ErrorCode::kCorrupt, "{}: its bytes do not match its hash: damaged; make it again",
         path().string());
  const auto largest = std::max_element(ids_.begin(), ids_.end());
  if (largest != ids_.end() && *largest >= static_cast<uint64_t>(vocab_size)) {
    fail(ErrorCode::kInvalidArgument,
         "{}: token id {} in a vocabulary of {}: it was made with another tokenizer",
         path().string(), *largest, vocab_size);
  }
}

ShardSet::ShardSet(const std::vector<Path>& paths) {
  firsts_.push_back(0);
  for (const Path& path : paths) {
    shards_.emplace_back(path);
    firsts_.push_back(firsts_.back() + shards_.back().document_count());
  }
}

void ShardSet::read(int64_t index, TokenDocument& out) const {
  DURE_CHECK(index >= 0 && index < document_count(), "document {} of {}", index, document_count());
  const auto after = std::upper_bound(firsts_.begin(), firsts_.end(), index);
  const size_t shard = static_cast<size_t>(after - firsts_.begin()) - 1;
  shards_[shard].read(index - firsts_[shard], out);
}

int64_t ShardSet::token_count() const {
  int64_t count = 0;
  for (const Shard& shard : shards_) count += shard.token_count();
  return count;
}

}  // namespace dure
