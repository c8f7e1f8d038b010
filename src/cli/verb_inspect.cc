// `dure inspect MODEL|ADAPTER|FILE`: what a model, an adapter or a file of tensors is, from its
// headers alone.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/progress.h"
#include "cli/args.h"
#include "cli/inspect_adapter.h"
#include "cli/verbs.h"
#include "data/model_texts.h"
#include "eval/report_data.h"
#include "formats/adapter_files.h"
#include "formats/gguf_model.h"
#include "formats/hf_config.h"
#include "formats/model_files.h"
#include "formats/model_folder.h"
#include "kernels/arithmetic.h"

namespace dure {
namespace {

struct InspectArgs {
  std::string model;
  bool json = false, tensors = false, keys = false;
  std::optional<std::string> base;
};

const char* norm_name(const ModelConfig& c) {
  return c.layer(0).norm_order == NormOrder::kPre ? "pre-norm" : "post-norm";
}

std::string facts_text(const LayerFacts& layer) {
  std::string out =
      layer.window_tokens > 0 ? fmt::format("sliding, window {}", layer.window_tokens) : "global";
  out += layer.rotary() ? ", RoPE" : ", no positions";
  out += layer.sparse ? ", experts" : ", dense";
  if (!layer.attention.qk_norm) out += ", heads not normed";
  if (layer.attention.sinks) out += ", sinks";
  if (layer.attention.biases) out += ", biases of attention";
  if (layer.sparse && layer.experts.biases) out += ", biases of router and experts";
  const ActivationFacts& activation = layer.activation;
  if (activation.limit > 0) out += fmt::format(", SwiGLU clamped at {}", activation.limit);
  if (activation.alpha != 1 || activation.up_offset != 0)
    out += fmt::format(", SwiGLU alpha {}, offset {}", activation.alpha, activation.up_offset);
  return out;
}

std::string router_text(const ExpertFacts& e) {
  std::string out = e.score == RouterScore::kSigmoid ? "sigmoid" : "softmax";
  if (e.selection_bias) out += ", a bias for the choice";
  return out + (e.normalise ? "; weights to the sum 1" : "; weights as they are");
}

std::string rope_text(const RopeFacts& rope) {
  switch (rope.kind) {
    case RopeKind::kNone:
    case RopeKind::kPlain:
      return "default";
    case RopeKind::kLlama3:
      return "llama3";
    case RopeKind::kYarn:
      break;
  }
  return fmt::format("yarn: factor {} from {} tokens, turns {} to {}{}, times {:.6g}", rope.factor,
                     rope.original_context_tokens, rope.beta_slow, rope.beta_fast,
                     rope.truncate ? " in whole pairs" : "", rope.attention_factor);
}

// One line for each run of equal layers.
void print_layers(const ModelConfig& c) {
  std::printf("layers\n");
  for (int64_t first = 0, last; first < c.layer_count(); first = last + 1) {
    last = first;
    while (last + 1 < c.layer_count() && c.layer(last + 1) == c.layer(first)) ++last;
    const std::string range =
        first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
    std::printf("  %-9s %s\n", range.c_str(), facts_text(c.layer(first)).c_str());
  }
  if (c.mtp_layer_count > 0) {
    std::printf("  %-9s %s; %lld step%s\n", "MTP", facts_text(c.mtp_layer).c_str(),
                static_cast<long long>(c.mtp_steps), c.mtp_steps == 1 ? "" : "s");
  }
}

void print_config(const ModelConfig& c) {
  std::printf("architecture\n");
  std::printf("  layers            %lld%s, %s\n", static_cast<long long>(c.layer_count()),
              c.mtp_layer_count > 0 ? " and 1 MTP" : "", norm_name(c));
  std::printf("  hidden            %lld, %lld query and %lld key heads of %lld\n",
              static_cast<long long>(c.hidden_size), static_cast<long long>(c.head_count),
              static_cast<long long>(c.kv_head_count), static_cast<long long>(c.head_width));
  if (c.sparse_layer_count() < c.layer_count() || c.mtp_layer_count > 0)
    std::printf("  dense FFN         %lld\n", static_cast<long long>(common_dense_width(c)));
  if (c.sparse_layer_count() > 0) {
    const ExpertFacts& e = common_experts(c);
    std::printf(
        "  experts           %lld of width %lld, %lld a token, %lld shared; groups %lld, kept "
        "%lld; scale %g\n",
        static_cast<long long>(e.count), static_cast<long long>(e.width),
        static_cast<long long>(e.per_token), static_cast<long long>(e.shared_count),
        static_cast<long long>(e.group_count), static_cast<long long>(e.groups_kept), e.scale);
    std::printf("  router            %s\n", router_text(e).c_str());
  }
  std::printf("  vocabulary        %s%s\n", grouped(c.vocab_size).c_str(),
              c.tied_embeddings ? ", head tied to the embedding" : "");
  const RopeFacts& rope = common_rope(c);
  std::printf("  context           %s tokens; RoPE theta %g, %s\n",
              grouped(c.context_tokens).c_str(), rope.theta, rope_text(rope).c_str());
}

void print_counts(const ModelConfig& c) {
  const ModelCounts counts = count_model(c);
  std::printf("parameters\n");
  std::printf("  total             %s", grouped(counts.parameters).c_str());
  if (counts.mtp_parameters > 0) std::printf(" (MTP %s)", grouped(counts.mtp_parameters).c_str());
  std::printf("\n  active per token  %s (%s without the embedding table)\n",
              grouped(counts.active).c_str(), grouped(counts.active_without_embedding).c_str());
  std::printf("  tensors           %s, %s bytes in 16 bits\n", grouped(counts.tensors).c_str(),
              grouped(counts.bytes_16bit).c_str());
}

struct Stored {
  int64_t tensors = 0, bytes = 0, elements = 0;
  std::map<std::string, std::pair<int64_t, int64_t>> by_type;  // type -> tensors, bytes
};

Stored count_stored(const TensorSource& source) {
  Stored out;
  for (const TensorInfo& info : source.tensors()) {
    out.tensors += 1;
    out.bytes += info.bytes();
    out.elements += info.elements();
    auto& [tensors, bytes] = out.by_type[std::string(dtype_info(info.dtype).name)];
    tensors += 1;
    bytes += info.bytes();
  }
  return out;
}

// How weights of a stored type multiply where a model answers.
Arithmetic answers_in(const std::string& type) {
  const auto dtype = dtype_from_name(type);
  return dtype && arithmetic_supports(Arithmetic::kInteger8, *dtype) ? Arithmetic::kInteger8
                                                                     : Arithmetic::kExact;
}

void print_stored(const Stored& stored) {
  std::printf("stored\n  tensors           %s, %s bytes (%s)\n", grouped(stored.tensors).c_str(),
              grouped(stored.bytes).c_str(),
              format_bytes(static_cast<double>(stored.bytes)).c_str());
  for (const auto& [type, count] : stored.by_type) {
    std::printf("  %-17s %s tensors, %s bytes%s\n", type.c_str(), grouped(count.first).c_str(),
                grouped(count.second).c_str(),
                answers_in(type) == Arithmetic::kInteger8 ? "; answers multiply in integer8" : "");
  }
}

void print_tensors(const TensorSource& source) {
  std::printf("tensors\n");
  for (const TensorInfo& info : source.tensors()) {
    std::printf("  %-64s %-8s %s\n", info.name.c_str(),
                std::string(dtype_info(info.dtype).name).c_str(), info.shape.text().c_str());
  }
}

Json tensors_json(const TensorSource& source) {
  Json list = Json::array();
  for (const TensorInfo& info : source.tensors()) {
    Json item = Json::object();
    item["name"] = info.name;
    item["dtype"] = dtype_info(info.dtype).name;
    item["shape"] = Json::array_of(info.shape.dims());
    item["bytes"] = info.bytes();
    list.push_back(std::move(item));
  }
  return list;
}

Json layer_json(const LayerFacts& layer) {
  Json out = Json::object();
  out["attention"] = layer.window_tokens > 0 ? "sliding_attention" : "full_attention";
  out["window"] = layer.window_tokens;
  out["rope"] = layer.rotary();
  out["qk_norm"] = layer.attention.qk_norm;
  out["attention_bias"] = layer.attention.biases;
  out["sinks"] = layer.attention.sinks;
  out["mlp"] = layer.sparse ? "sparse" : "dense";
  if (layer.sparse) {
    out["router"] = layer.experts.score == RouterScore::kSigmoid ? "sigmoid" : "softmax";
    out["selection_bias"] = layer.experts.selection_bias;
    out["expert_bias"] = layer.experts.biases;
  }
  out["swiglu_limit"] = layer.activation.limit;
  out["swiglu_alpha"] = layer.activation.alpha;
  out["swiglu_offset"] = layer.activation.up_offset;
  return out;
}

void add_stored(Json& out, const Stored& stored) {
  out["tensor_count"] = stored.tensors;
  out["bytes"] = stored.bytes;
  Json types = Json::object();
  for (const auto& [type, count] : stored.by_type) {
    types[type]["tensor_count"] = count.first;
    types[type]["bytes"] = count.second;
    types[type]["arithmetic"] = arithmetic_name(answers_in(type));
  }
  out["types"] = std::move(types);
}

void add_model(Json& out, const ModelConfig& c) {
  const ModelCounts counts = count_model(c);
  out["parameters"] = counts.parameters;
  out["mtp_parameters"] = counts.mtp_parameters;
  out["active_parameters"] = counts.active;
  out["active_parameters_without_embedding"] = counts.active_without_embedding;
  Json implied = Json::object();
  implied["tensor_count"] = counts.tensors;
  implied["bytes_16bit"] = counts.bytes_16bit;
  out["implied"] = std::move(implied);
  Json layers = Json::array();
  for (const LayerFacts& layer : c.layers) layers.push_back(layer_json(layer));
  out["layers"] = std::move(layers);
  if (c.mtp_layer_count > 0) out["mtp_layer"] = layer_json(c.mtp_layer);
  out["config"] = write_hf_config(c);
}

Json keys_json(const GgufMetadata& metadata) {
  Json out = Json::object();
  for (const auto& [key, value] : metadata.entries()) out[key] = value.text();
  return out;
}

// tokenizer.json or the GGUF keys; a broken one is said, it does not hide the rest.
Json tokenizer_json(const ModelFiles& files) {
  Json out = Json::object();
  try {
    const auto tokenizer = load_tokenizer(files);
    if (!tokenizer) return {};
    out["vocab_size"] = tokenizer->vocab_size();
    out["merges"] = static_cast<int64_t>(tokenizer->parts().merges.size());
    out["added_tokens"] = static_cast<int64_t>(tokenizer->parts().added.size());
    for (const auto& [name, id] : {std::pair("bos", tokenizer->bos_id()),
                                   {"eos", tokenizer->eos_id()},
                                   {"pad", tokenizer->pad_id()},
                                   {"unk", tokenizer->unk_id()}}) {
      if (id) out[name] = std::string(tokenizer->token_text(*id));
    }
  } catch (const Error& error) {
    out["error"] = error.what();
  }
  return out;
}

void print_texts(const ModelFiles& files) {
  const Json tokenizer = tokenizer_json(files);
  std::printf("texts\n");
  if (tokenizer.is_null()) {
    std::printf("  tokenizer         none\n");
  } else if (const Json* error = tokenizer.find("error")) {
    std::printf("  tokenizer         cannot be read: %s\n", error->as_string().c_str());
  } else {
    std::printf("  tokenizer         %s tokens, %s merges, %s added\n",
                grouped(tokenizer.at("vocab_size").as_int()).c_str(),
                grouped(tokenizer.at("merges").as_int()).c_str(),
                grouped(tokenizer.at("added_tokens").as_int()).c_str());
  }
  std::printf("  chat template     %s\n",
              files.texts().chat_template
                  ? fmt::format("{} bytes", files.texts().chat_template->size()).c_str()
                  : "none (the typed format serves)");
}

// Why the weights themselves could not be opened, of which the headers say nothing: a download that
// broke off. Empty where they are all there.
std::string problem_of_data(const Path& path) {
  try {
    if (std::filesystem::is_directory(path)) {
      SafetensorsSet whole(path, Extent::kWhole);
    } else {
      GgufFile whole(path);
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

int show_model(const ModelFiles& files, const InspectArgs& args) {
  const std::string problem = problem_of_data(files.path());
  const Stored stored = count_stored(files.source());
  const GgufMetadata* metadata = files.gguf_metadata();
  if (args.json) {
    Json out = Json::object();
    out["path"] = files.path().string();
    out["format"] = metadata != nullptr ? "gguf" : "safetensors";
    add_model(out, files.config());
    add_stored(out, stored);
    if (!problem.empty()) out["data_problem"] = problem;
    out["ignored"] = Json::array_of(files.ignored());
    out["tokenizer"] = tokenizer_json(files);
    out["chat_template"] = files.texts().chat_template.has_value();
    if (metadata != nullptr) out["metadata"] = keys_json(*metadata);
    if (args.tensors) out["tensors"] = tensors_json(files.source());
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("%s: %s\n", files.path().c_str(),
              metadata != nullptr ? "GGUF" : "Hugging Face folder");
  print_config(files.config());
  print_layers(files.config());
  print_counts(files.config());
  print_stored(stored);
  std::printf(
      "  check             every tensor that the configuration implies is there, in its shape\n");
  if (!problem.empty()) std::printf("  NOT WHOLE         %s\n", problem.c_str());
  if (!files.ignored().empty())
    std::printf("  not used          %zu tensors, such as %s\n", files.ignored().size(),
                files.ignored()[0].c_str());
  print_texts(files);
  if (args.keys && metadata != nullptr) {
    std::printf("metadata\n");
    for (const auto& [key, value] : metadata->entries())
      std::printf("  %-44s %s\n", key.c_str(), value.text().c_str());
  }
  if (args.tensors) print_tensors(files.source());
  return 0;
}

// A container without a model's configuration: one .safetensors file, or a GGUF of another
// architecture.
int show_container(const TensorSource& source, const GgufMetadata* metadata,
                   const InspectArgs& args) {
  const Stored stored = count_stored(source);
  if (args.json) {
    Json out = Json::object();
    out["path"] = source.where();
    out["format"] = metadata != nullptr ? "gguf" : "safetensors";
    out["elements"] = stored.elements;
    add_stored(out, stored);
    if (metadata != nullptr) out["metadata"] = keys_json(*metadata);
    if (args.tensors) out["tensors"] = tensors_json(source);
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("%s: %s elements%s\n", source.where().c_str(), grouped(stored.elements).c_str(),
              metadata != nullptr ? "; no architecture that Dure runs" : "");
  print_stored(stored);
  if (metadata != nullptr) {
    std::printf("metadata\n");
    for (const auto& [key, value] : metadata->entries())
      std::printf("  %-44s %s\n", key.c_str(), value.text().c_str());
  }
  print_tensors(source);
  return 0;
}

int show_config(const Path& path, const InspectArgs& args) {
  const ModelConfig config = parse_hf_config(load_json(path), path.string());
  if (args.json) {
    Json out = Json::object();
    out["path"] = path.string();
    out["format"] = "config";
    add_model(out, config);
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("%s: a configuration; no weights looked at\n", path.c_str());
  print_config(config);
  print_layers(config);
  print_counts(config);
  return 0;
}

bool is_known_gguf(const GgufFile& file) {
  const GgufValue* architecture = file.metadata().find("general.architecture");
  return architecture != nullptr && architecture->is_array() == false &&
         architecture->element() == GgufType::kString &&
         is_gguf_architecture(architecture->as_string(""));
}

int inspect(const InspectArgs& args) {
  // The folder of a run is told where its adapter is.
  if (is_adapter(args.model) || is_adapter(Path(args.model) / "adapter")) {
    inspect_adapter(args.model, {.json = args.json, .tensors = args.tensors, .base = args.base});
    return 0;
  }
  if (args.base)
    fail(ErrorCode::kInvalidArgument, "--base is for adapters; {} is none", args.model);
  const Path path = find_model(args.model);
  if (std::filesystem::is_directory(path)) {
    if (!holds_weights(path) && path_exists(path / "config.json"))
      return show_config(path / "config.json", args);
    return show_model(ModelFiles(path, Extent::kHeader), args);
  }
  if (path.filename().string().ends_with(".safetensors") ||
      path.filename().string().ends_with(".index.json")) {
    return show_container(SafetensorsSet(path, Extent::kHeader), nullptr, args);
  }
  if (path.extension() == ".json") return show_config(path, args);
  if (!is_gguf(path)) refuse_mistaken_file(path);
  if (!is_gguf(path))
    fail(ErrorCode::kUnsupported,
         "{}: neither a model's folder, config.json, .safetensors nor a GGUF file", path.string());
  const GgufFile file(path, Extent::kHeader);
  if (!is_known_gguf(file)) return show_container(file, &file.metadata(), args);
  return show_model(ModelFiles(path, Extent::kHeader), args);
}

}  // namespace

std::function<int()> declare_inspect(Args& args) {
  auto options = std::make_shared<InspectArgs>();
  args.positional(
      "MODEL", options->model,
      "a model's folder, GGUF file or repo id; an adapter (a PEFT folder or a GGUF file); "
      "or a config.json or .safetensors file");
  args.flag("--json", options->json, "one JSON object");
  args.flag("--tensors", options->tensors, "list every tensor");
  args.flag("--keys", options->keys, "list the metadata of a GGUF file");
  args.option("--base", options->base, "MODEL is an adapter: check that it fits this model");
  args.examples(
      "dure inspect LGAI-EXAONE/K-EXAONE-236B-A23B\ndure inspect model.gguf --tensors\ndure "
      "inspect config.json --json\ndure inspect runs/tuned/adapter --base model.gguf");
  return [options] { return inspect(*options); };
}

}  // namespace dure
