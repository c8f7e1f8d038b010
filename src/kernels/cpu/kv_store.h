// kernels/cpu/kv_store.h: kernels/kv_store.h on the CPU; calls are checked there.
#pragma once

#include "kernels/kv_store.h"
#include "tensor/cpu_stream.h"

namespace dure::cpu {

void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              CpuStream& stream);

}  // namespace dure::cpu
