// data/packing.h: documents into rows of T tokens and batches of B rows; shuffled, mixed,
// resumable.
//
// Owns the order in which documents are drawn and how rows are filled. Not here: where documents
// come from (shard.h, sft.h), what a batch is used for (train/). See docs/data.md.
//
// Symbols: B rows a batch, T tokens a row. The result depends on the sources, the options and the
// state alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/token_document.h"

namespace dure {

struct TrainBatch {
  std::vector<int32_t> ids;      // [B*T]
  std::vector<int32_t> targets;  // [B*T] the next token of the same document, or kIgnoredTarget
  std::vector<int64_t> document_lengths;  // Sum to B*T; none spans two rows
};

enum class Packing {
  kStream,  // Rows are filled without a gap; a document cut at a row's end goes on in the next as a
            // document of its own.
  kBestFit,  // Documents stay whole (fine-tuning); what a row has left is padding, a document
             // without targets.
};

struct PackingOptions {
  Packing packing = Packing::kStream;
  int64_t row_count = 1;   // B
  int64_t row_tokens = 0;  // T >= 2
  int32_t pad_id = 0;
  uint64_t seed = 0;
  int64_t window_rows = 128;  // Best fit: documents for this many rows are packed together.
};

struct WeightedSource {
  std::shared_ptr<const DocumentSource> documents;
  double weight = 1;  // Share of the tokens drawn, relative to the other sources. > 0.
  std::string name;   // For errors and metrics.
  // Drawn at most so often in all (1.5 epochs of 10 documents: 15); then the others share what is
  // left. >= 1.
  int64_t draws_max = DocumentSource::kEndless;
};

// Where one source stands.
struct SourceState {
  int64_t epoch = 0;
  int64_t position = 0;      // Documents drawn in this epoch.
  int64_t tokens_drawn = 0;  // Over all epochs: decides who is drawn from next.
  template <typename V>
  void visit(V& v) {
    v("epoch", epoch, "whole passes done");
    v("position", position, "documents drawn in this one");
    v("tokens_drawn", tokens_drawn, "tokens drawn in all");
  }
};

// What of a source has stood in rows that were given out.
struct SourceGiven {
  int64_t documents = 0;
  int64_t tokens = 0;
  template <typename V>
  void visit(V& v) {
    v("documents", documents, "begun");
    v("tokens", tokens, "of them");
  }
};

// Where a BatchSource stands: all it takes to go on with the same bits. to_json() and from_json()
// serve it.
struct BatchState {
  std::vector<SourceState> sources;  // Best fit: at the start of the window being used.
  int64_t window = 0;                // Best fit: windows packed before this one.
  int64_t window_row = 0;            // Best fit: rows of it already given out.
  int64_t carry_source =
      -1;  // Stream: the document being cut up: its source (-1: none), index, tokens used.
  int64_t carry_index = 0;
  int64_t carry_offset = 0;
  int64_t rows = 0;                // Given out in all.
  int64_t dropped_documents = 0;   // Longer than a row, or empty.
  int64_t padding_tokens = 0;      // Of rows given out.
  std::vector<SourceGiven> given;  // By source; empty in states of older runs: counted from there.
  template <typename V>
  void visit(V& v) {
    v("sources", sources, "each source's place");
    v("window", window, "windows packed");
    v("window_row", window_row, "rows of this window given out");
    v("carry_source", carry_source, "source of the document being cut up, or -1");
    v("carry_index", carry_index, "its index");
    v("carry_offset", carry_offset, "its tokens used");
    v("rows", rows, "rows given out");
    v("dropped_documents", dropped_documents, "documents dropped");
    v("padding_tokens", padding_tokens, "padding given out");
    v("given", given, "what each source has given");
  }
};

class BatchSource {
 public:
  // Throws kInvalidArgument: a source without documents, or in which no document fits a row (when
  // it is met).
  BatchSource(std::vector<WeightedSource> sources, const PackingOptions& options);
  ~BatchSource();

  // The next batch; where every source has given its draws_max, rows are filled up with padding.
  // `out` is reused.
  void next(TrainBatch& out);
  TrainBatch next() {
    TrainBatch batch;
    next(batch);
    return batch;
  }

  // Whether all that follows is padding. Never where a source has no draws_max.
  bool is_over() const;

  BatchState state() const;
  const std::vector<SourceGiven>& given() const;
  const WeightedSource& source(size_t index) const;
  // Longer than a row, or empty: also those of the window being used, which state() counts at its
  // end.
  int64_t dropped_documents() const;
  // Checked against this source's shape: throws kInvalidArgument where the state is of other
  // sources.
  void restore(const BatchState& state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Rows until every source has given its draws_max. Reads all of them once. Checked: each has one.
int64_t count_rows(const std::vector<WeightedSource>& sources, const PackingOptions& options);

// Every document once and in order, for evaluation: cut into pieces of at most T tokens, the last
// rows padded. With `overlap_tokens` > 0, a piece after the first begins that many tokens early, as
// context without targets, so that only a document's first token is never predicted.
class EvalBatches {
 public:
  struct Options {
    int64_t row_count = 1;       // B
    int64_t row_tokens = 0;      // T >= 2
    int64_t overlap_tokens = 0;  // 0 <= overlap < T
    int32_t pad_id = 0;
  };
  EvalBatches(std::shared_ptr<const DocumentSource> documents, const Options& options);
  bool next(TrainBatch& out);  // False when all documents are through.

 private:
  bool fill_row(TrainBatch& out);
  bool load();
  std::shared_ptr<const DocumentSource> documents_;
  Options options_;
  int64_t index_ = 0, offset_ = 0;
  TokenDocument current_;
  bool loaded_ = false;
};

}  // namespace dure
