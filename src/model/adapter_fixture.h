// model/adapter_fixture.h: adapters with values that say something. Tests only.
#pragma once

#include <memory>
#include <vector>

#include "base/rng.h"
#include "kernels/random.h"
#include "model/adapter.h"

namespace dure {

// Factors of `rank` on `targets`, drawn from `seed`; `up` too, which a fresh adapter has at 0.
inline std::shared_ptr<AdapterParameters> random_adapter(const ModelConfig& config, int64_t rank,
                                                         std::vector<LoraTarget> targets,
                                                         uint64_t seed, double deviation,
                                                         Stream& stream) {
  auto values = std::make_shared<AdapterParameters>(
      config, adapter_layout({.rank = rank, .targets = std::move(targets)}, config, "test"),
      stream.device());
  values->initialise(seed, stream);
  for (const AdapterParameter& p : values->list()) {
    if (p.is_up)
      fill_normal(p.view,
                  {.seed = seed, .stream = stream_id(p.name.c_str()), .deviation = deviation},
                  stream);
  }
  return values;
}

}  // namespace dure
