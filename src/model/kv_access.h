// model/kv_access.h: the seam through which a forward stores keys and values and learns what its
// rows may read.
//
// The trainer keeps whole documents in the activations themselves (document_kv.h), the engine rings
// and pages (engine/): one forward serves both. Layer indices are 0 .. L-1, and L for the MTP
// layer.
#pragma once

#include <span>

#include "kernels/attention.h"

namespace dure {

class KvAccess {
 public:
  virtual ~KvAccess() = default;
  // Stores this batch's rows. k, v: [T, G, H] f32, k normed and rotated. Called once a layer,
  // before segments(layer). The views stay as they are until the layer has attended, so a store may
  // as well point at them.
  virtual void append(int64_t layer, ConstTensorView k, ConstTensorView v, Stream& stream) = 0;
  // Covers every row of the batch once, rows ascending. Valid until the next call.
  virtual std::span<const AttentionSegment> segments(int64_t layer) = 0;
};

}  // namespace dure
