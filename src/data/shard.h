// data/shard.h: tokenised documents in one file, read through a map. Bytes: docs/data.md.
//
// Owns the file format, its checks, and sets of shards read as one source. Not here: tokenising a
// corpus (tokenise.h), rows and batches (packing.h).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/token_document.h"

namespace dure {

static_assert(std::endian::native == std::endian::little, "shards are little-endian");

// The file: this header; ids u32[token_count], padded to 8 bytes; trained bits, bit i%8 of byte
// i/8, padded to 8 bytes, where flags say so; document starts u64[document_count + 1], the first 0,
// the last token_count.
struct ShardHeader {
  char magic[8] = {'D', 'U', 'R', 'E', 'S', 'H', 'R', 'D'};
  uint32_t version = 1;
  uint32_t flags = 0;  // Bit 0: trained bits are there. Others: 0.
  uint64_t token_count = 0;
  uint64_t document_count = 0;
  uint64_t tokenizer_hash = 0;  // XXH64 of the tokenizer.json it was made with.
  uint64_t text_bytes = 0;      // UTF-8 bytes of the text, for bits per byte; 0: unknown.
  uint64_t content_hash = 0;    // XXH64 of everything after the header.
  uint64_t reserved = 0;        // 0.
};
static_assert(sizeof(ShardHeader) == 64 && offsetof(ShardHeader, token_count) == 16 &&
              offsetof(ShardHeader, tokenizer_hash) == 32 &&
              offsetof(ShardHeader, content_hash) == 48);
inline constexpr uint32_t kShardHasTrainedBits = 1;

// Collects documents in memory and writes them by commit(): a shard is 4 bytes a token, so cut
// large corpora up.
class ShardWriter {
 public:
  explicit ShardWriter(uint64_t tokenizer_hash) : tokenizer_hash_(tokenizer_hash) {}
  // Checked: not empty, ids >= 0, trained empty or as long as ids.
  void add(const TokenDocument& document, int64_t text_bytes);
  int64_t token_count() const { return std::ssize(ids_); }
  int64_t document_count() const { return std::ssize(starts_) - 1; }
  void commit(const Path& path) const;  // By rename. Throws kNoSpace, kPermission, kIo.

 private:
  uint64_t tokenizer_hash_;
  int64_t text_bytes_ = 0;
  bool masked_ = false;
  std::vector<uint32_t> ids_;
  std::vector<uint8_t> bits_;
  std::vector<uint64_t> starts_ = {0};
};

class Shard : public DocumentSource {
 public:
  // Maps and checks the structure: magic, version, sizes, starts. Throws kCorrupt or kUnsupported
  // naming the file and what is wrong with it.
  explicit Shard(const Path& path);

  int64_t document_count() const override { return static_cast<int64_t>(header_.document_count); }
  void read(int64_t index, TokenDocument& out) const override;
  int64_t document_tokens(int64_t index) const;
  int64_t token_count() const { return static_cast<int64_t>(header_.token_count); }
  int64_t trained_token_count() const;
  const ShardHeader& header() const { return header_; }
  const Path& path() const { return map_.path(); }

  // Reads every byte: the hash, and that ids are below `vocab_size`. Throws kCorrupt,
  // kInvalidArgument.
  void verify(int64_t vocab_size) const;

 private:
  MappedFile map_;
  ShardHeader header_;
  std::span<const uint32_t> ids_;
  std::span<const uint8_t> bits_;  // Empty: all trained.
  std::span<const uint64_t> starts_;
};

// Several shards as one source, in the order given.
class ShardSet : public DocumentSource {
 public:
  explicit ShardSet(const std::vector<Path>& paths);
  int64_t document_count() const override { return firsts_.back(); }
  void read(int64_t index, TokenDocument& out) const override;
  int64_t token_count() const;
  const std::vector<Shard>& shards() const { return shards_; }

 private:
  std::vector<Shard> shards_;
  // firsts_[i]: index of shard i's first document; one more at the end.
  std::vector<int64_t> firsts_;
};

}  // namespace dure
