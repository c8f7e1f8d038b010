// llama.cpp at work on a GGUF file, through its library: what check_llama.py and bench_quantise.py
// compare with. Built against it by peer_llama.sh; no part of Dure.
//
//   llama_peer logits MODEL.gguf TOKENS.txt LOGITS.f32 NEW_TOKENS [LORA.gguf]
//     TOKENS.txt: lines of token ids, a sequence each. Writes raw float32 [T, V] of all rows, in
//     order; prints for each sequence NEW_TOKENS greedy ids and the distances of the two best
//     logits. KV in float32, no flash attention, one thread.
//   llama_peer encode MODEL.gguf TEXT.txt         a line of ids for each line of text
//   llama_peer quantize IN.gguf OUT.gguf TYPE     every matrix but the router in blocks of TYPE
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "llama.h"

namespace {

// Logits [V] of the last row, or of every row of `tokens` where `all` is set.
bool decode(llama_context* context, const std::vector<llama_token>& tokens, int first, bool all) {
  llama_batch batch = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.token[i] = tokens[i];
    batch.pos[i] = first + static_cast<int>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = all || i + 1 == tokens.size();
  }
  batch.n_tokens = static_cast<int32_t>(tokens.size());
  const bool good = llama_decode(context, batch) == 0;
  llama_batch_free(batch);
  return good;
}

llama_context* new_context(llama_model* model, int rows) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(rows);
  params.n_batch = params.n_ubatch = params.n_ctx;
  params.n_threads = params.n_threads_batch = 1;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = GGML_TYPE_F32;
  return llama_init_from_model(model, params);
}

bool run_sequence(llama_model* model, llama_adapter_lora* lora,
                  const std::vector<llama_token>& tokens, int new_tokens, std::ofstream& out) {
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  const int rows = static_cast<int>(tokens.size());
  llama_context* context = new_context(model, std::max(256, rows + new_tokens));
  if (context == nullptr) return false;
  float scale = 1;
  if (lora != nullptr && llama_set_adapters_lora(context, &lora, 1, &scale) != 0) return false;
  if (!decode(context, tokens, 0, true)) return false;
  for (int t = 0; t < rows; ++t)
    out.write(reinterpret_cast<const char*>(llama_get_logits_ith(context, t)),
              static_cast<std::streamsize>(sizeof(float)) * vocab);
  std::string ids, margins;
  for (int i = 0; i < new_tokens; ++i) {
    const float* logits = llama_get_logits_ith(context, i == 0 ? rows - 1 : 0);
    std::vector<int> order(static_cast<size_t>(vocab));
    for (int v = 0; v < vocab; ++v) order[static_cast<size_t>(v)] = v;
    std::partial_sort(order.begin(), order.begin() + 2, order.end(), [&](int a, int b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    ids += std::to_string(order[0]) + " ";
    margins += std::to_string(logits[order[0]] - logits[order[1]]) + " ";
    if (i + 1 < new_tokens && !decode(context, {order[0]}, rows + i, false)) return false;
  }
  std::printf("%s| %s\n", ids.c_str(), margins.c_str());
  llama_free(context);
  return true;
}

// Special tokens in the text are recognised; nothing is added.
void encode_lines(llama_model* model, const char* path) {
  const llama_vocab* vocab = llama_model_get_vocab(model);
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::vector<llama_token> ids(line.size() + 8);
    const int count = llama_tokenize(vocab, line.data(), static_cast<int32_t>(line.size()),
                                     ids.data(), static_cast<int32_t>(ids.size()), false, true);
    for (int i = 0; i < count; ++i) std::printf("%d ", ids[static_cast<size_t>(i)]);
    std::printf("\n");
  }
}

llama_model* load(const char* path, bool vocab_only) {
  llama_model_params params = llama_model_default_params();
  params.vocab_only = vocab_only;
  llama_model* model = llama_model_load_from_file(path, params);
  if (model == nullptr) {
    std::fprintf(stderr, "%s does not load\n", path);
    std::exit(1);
  }
  return model;
}

int logits(char** arguments) {
  llama_model* model = load(arguments[0], false);
  llama_adapter_lora* lora =
      arguments[4] == nullptr ? nullptr : llama_adapter_lora_init(model, arguments[4]);
  if (arguments[4] != nullptr && lora == nullptr) return 1;
  std::ifstream in(arguments[1]);
  std::ofstream out(arguments[2], std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    std::istringstream numbers(line);
    std::vector<llama_token> tokens;
    for (llama_token id; numbers >> id;) tokens.push_back(id);
    if (!tokens.empty() && !run_sequence(model, lora, tokens, std::atoi(arguments[3]), out)) return 1;
  }
  llama_model_free(model);
  return 0;
}

int quantize(char** arguments) {
  static const std::map<std::string, llama_ftype> types = {
      {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},     {"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K},
      {"Q5_K", LLAMA_FTYPE_MOSTLY_Q5_K_S},   {"Q4_K", LLAMA_FTYPE_MOSTLY_Q4_K_S},
      {"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},     {"Q3_K", LLAMA_FTYPE_MOSTLY_Q3_K_S},
      {"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K},     {"IQ4_NL", LLAMA_FTYPE_MOSTLY_IQ4_NL},
      {"IQ4_XS", LLAMA_FTYPE_MOSTLY_IQ4_XS}, {"MXFP4", LLAMA_FTYPE_MOSTLY_MXFP4_MOE}};
  const auto found = types.find(arguments[2]);
  if (found == types.end()) {
    std::fprintf(stderr, "no type %s\n", arguments[2]);
    return 2;
  }
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = found->second;
  params.pure = true;
  params.nthread = 1;
  return llama_model_quantize(arguments[0], arguments[1], &params) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level >= GGML_LOG_LEVEL_WARN) std::fputs(text, stderr);
      },
      nullptr);
  llama_backend_init();
  if (verb == "logits" && (argc == 6 || argc == 7)) return logits(argv + 2);
  if (verb == "encode" && argc == 4) {
    encode_lines(load(argv[2], true), argv[3]);
    return 0;
  }
  if (verb == "quantize" && argc == 5) return quantize(argv + 2);
  std::fprintf(stderr, "usage: %s logits|encode|quantize ...\n", argv[0]);
  return 2;
}
