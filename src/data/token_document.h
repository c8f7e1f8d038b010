// data/token_document.h: a tokenised document, and the face of whatever holds many of them.
//
// Implemented by shards on disk (shard.h), tokenised conversations and generated problems (sft.h),
// and tests.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dure {

inline constexpr int32_t kIgnoredTarget =
    -100;  // Equals kernels' kIgnore, which this layer does not include.

struct TokenDocument {
  std::vector<int32_t> ids;
  // As long as ids: 1 where the token is one to learn. Empty: all are.
  std::vector<uint8_t> trained;
  bool is_trained(size_t index) const { return trained.empty() || trained[index] != 0; }
  void clear() {
    ids.clear();
    trained.clear();
  }
};

class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // Documents 0 .. count-1. Generators without end give kEndless: any index is good, and there are
  // no epochs.
  virtual int64_t document_count() const = 0;
  // The same index always gives the same document. Safe to call from several threads.
  virtual void read(int64_t index, TokenDocument& out) const = 0;
  // What a document was made from: equal for neighbours that are samples of one conversation.
  virtual int64_t conversation_of(int64_t index) const { return index; }
  static constexpr int64_t kEndless = INT64_MAX;
};

// Documents in memory, for tests and small sets.
class MemoryDocuments : public DocumentSource {
 public:
  // `conversations`: each document's, ascending; empty where each is one of its own.
  explicit MemoryDocuments(std::vector<TokenDocument> documents,
                           std::vector<int64_t> conversations = {})
      : documents_(std::move(documents)), conversations_(std::move(conversations)) {}
  int64_t document_count() const override { return std::ssize(documents_); }
  void read(int64_t index, TokenDocument& out) const override {
    out = documents_[static_cast<size_t>(index)];
  }
  int64_t conversation_of(int64_t index) const override {
    return conversations_.empty() ? index : conversations_[static_cast<size_t>(index)];
  }

 private:
  std::vector<TokenDocument> documents_;
  std::vector<int64_t> conversations_;
};

}  // namespace dure
