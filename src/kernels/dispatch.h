// kernels/dispatch.h: from a stream to the bodies of its device. Only the contracts' own .cc files
// include this: they check a call, then hand it on.
//
// One argument for each backend there is; today cpu/ alone. A fenced stream (tests) runs the CPU's
// bodies with its memory opened for the time of the call.
#pragma once

#include "tensor/fenced_stream.h"

namespace dure {

// cpu: called with the CpuStream& to run on; its result is returned.
template <typename Cpu>
decltype(auto) dispatch(Stream& stream, Cpu&& cpu) {
  if (stream.device() == Device::kCpu) return cpu(static_cast<CpuStream&>(stream));
  const FenceOpening open;
  return cpu(static_cast<FencedStream&>(stream).cpu());
}

}  // namespace dure
