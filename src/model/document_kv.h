// model/document_kv.h: the keys and values of whole documents packed in one batch, read where the
// activations hold them.
//
// The trainer's KvAccess: nothing is copied. Each document is a segment of its own; positions
// restart at 0.
#pragma once

#include <vector>

#include "model/kv_access.h"

namespace dure {

class DocumentKv : public KvAccess {
 public:
  DocumentKv() = default;  // No room yet: enough to plan with.
  explicit DocumentKv(int64_t documents_max) { reserve(documents_max); }
  void reserve(int64_t documents_max) { segments_.reserve(static_cast<size_t>(documents_max)); }

  // Checked: at most documents_max, none empty.
  void set_documents(std::span<const int64_t> lengths) {
    DURE_CHECK(lengths.size() <= segments_.capacity(), "{} documents where {} were planned",
               lengths.size(), segments_.capacity());
    segments_.clear();
    int64_t row = 0;
    for (const int64_t length : lengths) {
      DURE_CHECK(length >= 1, "a document of {} rows", length);
      segments_.push_back({.first_row = row, .row_count = length, .first_position = 0, .kv = {}});
      row += length;
    }
  }

  void append(int64_t, ConstTensorView k, ConstTensorView v, Stream&) override { point_at(k, v); }
  std::span<const AttentionSegment> segments(int64_t) override { return segments_; }

  // For a backward that did not append again: k, v: [T, G, H].
  void point_at(ConstTensorView k, ConstTensorView v) {
    for (AttentionSegment& segment : segments_) {
      segment.kv = contiguous_kv(k.rows(segment.first_row, segment.row_count),
                                 v.rows(segment.first_row, segment.row_count));
    }
  }

 private:
  std::vector<AttentionSegment> segments_;
};

}  // namespace dure
