// Shards: round trip; every kind of damage is named, never read past.
#include "data/shard.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "base/testing.h"

namespace dure {
namespace {

std::vector<TokenDocument> random_documents(uint64_t seed, bool masked) {
  Rng rng(seed);
  std::vector<TokenDocument> documents(static_cast<size_t>(rng.between(1, 30)));
  for (TokenDocument& document : documents) {
    const int64_t length = rng.between(1, 60);
    for (int64_t i = 0; i < length; ++i) {
      document.ids.push_back(static_cast<int32_t>(rng.below(5000)));
      if (masked) document.trained.push_back(static_cast<uint8_t>(rng.below(2)));
    }
  }
  return documents;
}

void write_shard(const Path& path, const std::vector<TokenDocument>& documents) {
  ShardWriter writer(42);
  for (const TokenDocument& document : documents) writer.add(document, 10);
  writer.commit(path);
}

std::string problem_of(const Path& path, int64_t vocab_size = 5000) {
  return message_of([&] { Shard(path).verify(vocab_size); });
}

TEST(Shard, ComesBackAsItWasWritten) {
  const TemporaryFolder folder;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto documents = random_documents(seed, seed % 2 == 0);
    const Path path = folder.path() / "a.shard";
    write_shard(path, documents);
    const Shard shard(path);
    shard.verify(5000);
    ASSERT_EQ(shard.document_count(), std::ssize(documents));
    EXPECT_EQ(shard.header().tokenizer_hash, 42u);
    EXPECT_EQ(shard.header().text_bytes, 10 * documents.size());
    int64_t trained = 0;
    TokenDocument out;
    for (int64_t i = 0; i < shard.document_count(); ++i) {
      shard.read(i, out);
      const TokenDocument& expected = documents[static_cast<size_t>(i)];
      ASSERT_EQ(out.ids, expected.ids);
      for (size_t j = 0; j < out.ids.size(); ++j) {
        ASSERT_EQ(out.is_trained(j), expected.is_trained(j));
        trained += expected.is_trained(j);
      }
    }
    EXPECT_EQ(shard.trained_token_count(), trained);
  }
}

TEST(Shard, SetsJoinShardsInOrder) {
  const TemporaryFolder folder;
  std::vector<TokenDocument> all;
  std::vector<Path> paths;
  for (uint64_t i = 0; i < 3; ++i) {
    const auto documents = random_documents(100 + i, false);
    paths.push_back(folder.path() / std::to_string(i));
    write_shard(paths.back(), documents);
    all.insert(all.end(), documents.begin(), documents.end());
  }
  const ShardSet set(paths);
  ASSERT_EQ(set.document_count(), std::ssize(all));
  TokenDocument out;
  for (size_t i = 0; i < all.size(); ++i) {
    set.read(static_cast<int64_t>(i), out);
    EXPECT_EQ(out.ids, all[i].ids);
  }
}

// The bytes of docs/data.md, spelt out once by hand.
TEST(Shard, BytesAreAsDocumented) {
  const TemporaryFolder folder;
  write_shard(folder.path() / "a", {{.ids = {5, 6, 7}, .trained = {0, 1, 1}}});
  const std::string bytes = read_file(folder.path() / "a");
  ASSERT_EQ(bytes.size(), 64u + 16 + 8 + 16);
  EXPECT_EQ(bytes.substr(0, 8), "DURESHRD");
  const auto u32 = [&](size_t at) {
    uint32_t v;
    std::memcpy(&v, bytes.data() + at, 4);
    return v;
  };
  EXPECT_EQ(u32(8), 1u);
  EXPECT_EQ(u32(12), 1u);
  EXPECT_EQ(u32(16), 3u);
  EXPECT_EQ(u32(24), 1u);
  EXPECT_EQ(u32(64), 5u);
  EXPECT_EQ(u32(72), 7u);
  EXPECT_EQ(bytes[80], 0b110);
  EXPECT_EQ(u32(88), 0u);
  EXPECT_EQ(u32(96), 3u);
}

TEST(Shard, EveryTruncationIsNamed) {
  const TemporaryFolder folder;
  write_shard(folder.path() / "a", random_documents(1, true));
  const std::string bytes = read_file(folder.path() / "a");
  for (size_t size = 0; size < bytes.size(); size += size < 80 ? 3 : 37) {
    write_file(folder.path() / "cut", bytes.substr(0, size));
    ASSERT_NE(problem_of(folder.path() / "cut").find("cut"), std::string::npos) << size;
  }
  write_file(folder.path() / "long", bytes + "x");
  EXPECT_NE(problem_of(folder.path() / "long").find("do not hold"), std::string::npos);
}

TEST(Shard, EveryFlippedBitIsFound) {
  const TemporaryFolder folder;
  write_shard(folder.path() / "a", random_documents(2, true));
  const std::string bytes = read_file(folder.path() / "a");
  Rng rng(3);
  for (int i = 0; i < 160; ++i) {
    std::string damaged = bytes;
    const size_t at =
        i < 64 ? static_cast<size_t>(i) : static_cast<size_t>(rng.below(std::ssize(bytes)));
    if ((at >= 32 && at < 48))
      continue;  // The tokenizer's hash and the text size say nothing about the bytes.
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << rng.below(8)));
    write_file(folder.path() / "b", damaged);
    ASSERT_NE(problem_of(folder.path() / "b"), "(no error)") << "byte " << at;
  }
}

TEST(Shard, HugeCountsInTheHeaderAllocateNothing) {
  const TemporaryFolder folder;
  ShardHeader header;
  header.token_count = UINT64_MAX / 2;
  header.document_count = UINT64_MAX / 8;
  write_file(folder.path() / "a",
             std::string(reinterpret_cast<const char*>(&header), sizeof(header)));
  EXPECT_NE(problem_of(folder.path() / "a").find("truncated or damaged"), std::string::npos);
}

TEST(Shard, IdsOutsideTheVocabularyAreRefused) {
  const TemporaryFolder folder;
  write_shard(folder.path() / "a", {{.ids = {1, 600}, .trained = {}}});
  EXPECT_NE(problem_of(folder.path() / "a", 600).find("token id 600"), std::string::npos);
  EXPECT_EQ(problem_of(folder.path() / "a", 601), "(no error)");
  EXPECT_THROW(Shard(folder.path() / "none"), Error);
}

}  // namespace
}  // namespace dure
