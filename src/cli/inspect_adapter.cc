// An adapter's facts as lines and as JSON.
#include "cli/inspect_adapter.h"

#include <cstdio>
#include <map>
#include <set>

#include "base/json.h"
#include "base/progress.h"
#include "eval/report_data.h"
#include "formats/adapter_facts.h"
#include "formats/adapter_files.h"
#include "formats/model_files.h"

namespace dure {
namespace {

// "model.layers.12.mlp.up_proj" without the layer's number: "model.layers.N.mlp.up_proj".
std::string without_layer(const std::string& name) {
  for (const std::string_view before : {"layers.", "blk."}) {
    const size_t at = name.find(before);
    if (at == std::string::npos) continue;
    const size_t digits = at + before.size();
    const size_t end = name.find_first_not_of("0123456789", digits);
    if (end == std::string::npos || end == digits) continue;
    return name.substr(0, digits) + "N" + name.substr(end);
  }
  return name;
}

struct Kind {
  AdapterModule module;  // one of them
  int64_t count = 0;
};

// Modules of one name, shape, rank and scale, in the order of the file's names.
std::vector<Kind> kinds_of(const AdapterFacts& facts) {
  std::vector<Kind> kinds;
  std::map<std::string, size_t> places;
  for (const AdapterModule& module : facts.modules) {
    const std::string name = without_layer(module.name);
    const std::string key = fmt::format("{} {} {} {} {}", name, module.a.text(), module.b.text(),
                                        module.rank, module.scale);
    const auto [place, is_new] = places.emplace(key, kinds.size());
    if (is_new) kinds.push_back({module});
    Kind& kind = kinds[place->second];
    kind.module.name = name;
    ++kind.count;
  }
  return kinds;
}

struct Sums {
  int64_t elements = 0, bytes = 0;
};
Sums sums_of(const AdapterFacts& facts) {
  Sums out;
  for (const TensorInfo& info : facts.tensors) {
    out.elements += info.elements();
    out.bytes += info.bytes();
  }
  return out;
}

std::string ranks_text(const AdapterFacts& facts) {
  std::set<int64_t> ranks;
  for (const AdapterModule& module : facts.modules) ranks.insert(module.rank);
  std::string out;
  for (const int64_t rank : ranks) out += (out.empty() ? "" : ", ") + std::to_string(rank);
  return out;
}

void print_text(const AdapterFacts& facts, const InspectAdapterOptions& options) {
  const Sums sums = sums_of(facts);
  std::string text =
      fmt::format("{}: an adapter (LoRA), {}\n", facts.where, facts.gguf ? "GGUF" : "PEFT folder");
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("  {:<17} {}\n", name, value);
  };
  line("base", facts.base.empty() ? "not named" : facts.base);
  if (facts.gguf) line("architecture", facts.architecture);
  line("rank", ranks_text(facts));
  line("alpha",
       fmt::format("{}{}", facts.alpha, facts.rank_stabilised ? ", rank-stabilised (rsLoRA)" : ""));
  line("parameters", grouped(sums.elements));
  line("stored", fmt::format("{} tensors of {}, {} bytes ({})", facts.tensors.size(),
                             dtype_info(facts.tensors.front().dtype).name, grouped(sums.bytes),
                             format_bytes(static_cast<double>(sums.bytes))));
  text += "adds to\n";
  for (const Kind& kind : kinds_of(facts)) {
    const AdapterModule& m = kind.module;
    text += fmt::format("  {:<48} {:>4} x A {}, B {}; rank {}, scale {:.6g}{}\n", m.name,
                        kind.count, m.a.text(), m.b.text(), m.rank, m.scale,
                        m.experts > 0 ? fmt::format(", {} experts", m.experts) : "");
  }
  if (options.base)
    text += fmt::format("fits {}: every factor has its place there, in its shape\n", *options.base);
  if (options.tensors) {
    text += "tensors\n";
    for (const TensorInfo& info : facts.tensors)
      text += fmt::format("  {:<64} {:<8} {}\n", info.name, dtype_info(info.dtype).name,
                          info.shape.text());
  }
  std::fputs(text.c_str(), stdout);
}

Json json_of(const AdapterFacts& facts, const InspectAdapterOptions& options) {
  const Sums sums = sums_of(facts);
  Json out = Json::object();
  out["path"] = facts.where;
  out["format"] = facts.gguf ? "gguf" : "peft";
  out["adapter"] = "lora";
  out["base"] = facts.base.empty() ? Json() : Json(facts.base);
  if (facts.gguf) out["architecture"] = facts.architecture;
  if (options.base) out["fits"] = *options.base;
  out["alpha"] = facts.alpha;
  out["rslora"] = facts.rank_stabilised;
  out["parameters"] = sums.elements;
  out["tensor_count"] = std::ssize(facts.tensors);
  out["bytes"] = sums.bytes;
  out["dtype"] = dtype_info(facts.tensors.front().dtype).name;
  Json modules = Json::array();
  for (const AdapterModule& module : facts.modules) {
    Json one = Json::object();
    one["name"] = module.name;
    one["rank"] = module.rank;
    one["scale"] = module.scale;
    one["a"] = Json::array_of(module.a.dims());
    one["b"] = Json::array_of(module.b.dims());
    if (module.experts > 0) one["experts"] = module.experts;
    modules.push_back(std::move(one));
  }
  out["modules"] = std::move(modules);
  return out;
}

}  // namespace

void inspect_adapter(const Path& path, const InspectAdapterOptions& options) {
  const AdapterFacts facts = adapter_facts(path);
  if (options.base)
    read_adapter(path, ModelFiles(find_model(*options.base), Extent::kHeader).config());
  if (options.json) {
    std::printf("%s\n", json_of(facts, options).dump(2).c_str());
  } else {
    print_text(facts, options);
  }
}

}  // namespace dure
