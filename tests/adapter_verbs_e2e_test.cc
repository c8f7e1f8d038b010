// `--adapter` of the verbs that open a model: the answers and the probabilities of an engine that
// takes the adapter by request, and of a server by name; what a record says of it; bad ones.
#include "base/json.h"
#include "chat/open_model.h"
#include "engine/generator.h"
#include "eval/answer_store.h"
#include "model/adapter_fixture.h"
#include "served.h"
#include "tiny_model.h"

namespace dure {
namespace {

class AdapterVerbs : public TinyModel {
 protected:
  static void SetUpTestSuite() {
    TinyModel::SetUpTestSuite();
    CpuStream stream(1);
    const ModelConfig config = ModelFiles(at("model"), Extent::kHeader).config();
    for (const auto& [name, seed] : {std::pair("one", 31), std::pair("two", 32)}) {
      const auto values = random_adapter(
          config, 3, {LoraTarget::kAttention, LoraTarget::kExperts, LoraTarget::kHead},
          static_cast<uint64_t>(seed), 0.3, stream);
      std::filesystem::create_directories(at(name));
      write_peft_adapter(at(name) + "/adapter", config, values->content(stream), {});
    }
  }
  static std::string with(const std::string& name) { return " --adapter " + at(name) + "/adapter"; }
  static std::string answers(const std::string& out, const std::string& subject) {
    std::string all;
    const AnswerStore store = AnswerStore::open_existing(Path(at(out)) / "answers.sqlite");
    for (const AnswerRow& row : store.answers(subject, "drills"))
      all += row.item + ": " + row.answer.reasoning + "|" + row.answer.content + "\n";
    return all;
  }
  static Json subject(const std::string& out, size_t index) {
    return load_json(at(out) + "/results.json").at("models").at(index);
  }
};

TEST_F(AdapterVerbs, GenerateHasTheBitsOfAnAdapterByRequest) {
  const Outcome said = run_program("generate " + at("model") + with("one") +
                                   " -p 'the work' -n 12 --temperature 0 --json");
  ASSERT_EQ(said.code, 0) << said.error;
  const Json found = parse_json(said.out, "generate");
  const OpenModel model = open_model(at("model"));
  CpuStream stream(1);
  Generator generator(model.weights, {.context_tokens_max = 64, .adapter_rank = 3}, stream);
  GenerationRequest request{.prompt = model.texts.require_tokenizer().encode("the work"),
                            .sampling = {.temperature = 0},
                            .new_tokens_max = 12,
                            .stop_tokens = model.texts.stops.tokens};
  request.adapter = open_adapter(at("one") + "/adapter", model.weights.config, stream);
  const Generation expected = generator.run({std::move(request)})[0];
  ASSERT_EQ(found.at("tokens").size(), expected.tokens.size());
  for (size_t i = 0; i < expected.tokens.size(); ++i) {
    EXPECT_EQ(found.at("tokens").at(i), Json(int64_t{expected.tokens[i]})) << i;
    EXPECT_EQ(static_cast<float>(found.at("logprobs").at(i).as_double()),
              expected.log_probabilities[i])
        << i;
  }
}

TEST_F(AdapterVerbs, ChatAnswersAsAServerDoesByItsName) {
  const Served server(at("model"), "--adapter first=" + at("one") + "/adapter" + with("two"));
  const std::string flags = " -n 14 --temperature 0 --no-thinking";
  const auto chat = [&](const std::string& arguments) {
    const Outcome out = run_program("chat " + arguments + flags, {.input = "the work?\n"});
    EXPECT_EQ(out.code, 0) << out.error;
    return out.out;
  };
  const std::string base = chat(at("model"));
  const std::string one = chat(at("model") + with("one")), two = chat(at("model") + with("two"));
  EXPECT_NE(one, base);
  EXPECT_NE(one, two);
  EXPECT_EQ(one, chat(server.url() + " --model first"));
  EXPECT_EQ(two, chat(server.url() + " --model two"));  // of a path "adapter" is no name
  EXPECT_EQ(chat(at("model") + " --adapter n=" + at("one") + "/adapter"), one);
}

TEST_F(AdapterVerbs, EvalMeasuresEachBesideTheBase) {
  write_file(at("suite.yaml"),
             "tasks: [{task: drills, samples: 1}]\nnew_tokens_max: 8\ntemperature: 0\n");
  const std::string suite = " " + at("suite.yaml") + " --limit 12 --out ";
  const auto eval = [&](const std::string& arguments) {
    const Outcome out = run_program("eval " + arguments);
    EXPECT_EQ(out.code, 0) << out.error;
  };
  eval("base=" + at("model") + suite + at("local"));
  eval(at("model") + suite + at("local") + " --adapter first=" + at("one") + "/adapter" +
       with("two"));
  {
    const Served server(at("model"), "--adapter first=" + at("one") + "/adapter");
    eval("served=" + server.url() + suite + at("remote") + " --model first");
  }
  EXPECT_NE(answers("local", "first"), "");
  EXPECT_EQ(answers("local", "first"), answers("remote", "served"));
  EXPECT_NE(answers("local", "first"), answers("local", "base"));
  EXPECT_NE(answers("local", "first"), answers("local", "two"));
  // The record names it and its fingerprint.
  EXPECT_FALSE(subject("local", 0).at("identity").contains("adapter"));
  const Json first = subject("local", 1), second = subject("local", 2);
  EXPECT_EQ(first.at("name"), Json("first"));
  EXPECT_EQ(first.at("identity").at("adapter").as_string().size(), 16u);
  EXPECT_NE(first.at("identity").at("adapter"), second.at("identity").at("adapter"));
  EXPECT_EQ(first.at("facts").at("adapter"), Json(at("one") + "/adapter"));
  EXPECT_EQ(first.at("facts").at("model"), Json(at("model")));
  // Distributions are compared with what was measured, adapters and all.
  const Outcome kl =
      run_program("eval --compare --kl " + at("local") + ":base " + at("local") + ":first");
  EXPECT_EQ(kl.code, 0) << kl.error;
  EXPECT_EQ(kl.out.find(": 0.00000 nats"), std::string::npos) << kl.out;
}

TEST_F(AdapterVerbs, TheOlderSuiteToo) {
  write_file(at("older.yaml"),
             "tasks: {problems_per_cell: 1, new_tokens_max: 6, greedy: false, mixture: {languages: [en]}}\n");
  const std::string common = at("model") + " " + at("older.yaml") + " --out " + at("older");
  const Outcome first = run_program("eval " + common + " --adapter mine=" + at("one") + "/adapter");
  ASSERT_EQ(first.code, 0) << first.error;
  const Json results = load_json(at("older") + "/results.json").at(size_t{0});
  EXPECT_EQ(results.at("adapter_fingerprint").as_string().size(), 16u);
  EXPECT_NE(read_file(at("older") + "/report.html").find("mine, its adapter"), std::string::npos);
  // Another adapter of that name is measured again.
  ASSERT_EQ(run_program("eval " + common + " --adapter mine=" + at("two") + "/adapter").code, 0);
  const Json again = load_json(at("older") + "/results.json").at(size_t{0});
  EXPECT_NE(again.at("adapter_fingerprint"), results.at("adapter_fingerprint"));
}

TEST_F(AdapterVerbs, InspectSaysWhatItIsAndWhetherItFits) {
  const std::string peft = at("one") + "/adapter", gguf = at("one.gguf");
  ASSERT_EQ(run_program("convert " + peft + " " + gguf + " --base " + at("model")).code, 0);
  const ModelConfig config = ModelFiles(at("model"), Extent::kHeader).config();
  const AdapterContent adapter = read_adapter(peft, config);
  for (const std::string& path : {peft, gguf}) {
    const Outcome out = run_program("inspect " + path + " --json --base " + at("model"));
    ASSERT_EQ(out.code, 0) << out.error;
    const Json said = parse_json(out.out, "inspect");
    EXPECT_EQ(said.at("format"), Json(path == gguf ? "gguf" : "peft"));
    EXPECT_EQ(said.at("alpha").as_double(), 6);
    // A GGUF file has the A that experts' gate and up share twice.
    const int64_t parameters = adapter_parameters(adapter.layout, config);
    if (path == peft) {
      EXPECT_EQ(said.at("parameters"), Json(parameters));
    } else {
      EXPECT_GT(said.at("parameters").as_int(), parameters);
    }
    int64_t experts = 0;
    for (const Json& module : said.at("modules").as_array()) {
      EXPECT_EQ(module.at("rank"), Json(3));
      EXPECT_EQ(module.at("scale").as_double(), 2);
      if (const Json* count = module.find("experts")) {
        EXPECT_EQ(*count, Json(config.layer(config.layer_count() - 1).experts.count));
        ++experts;
      }
    }
    EXPECT_EQ(experts, config.sparse_layer_count() * (path == gguf ? 3 : 2));
    const Outcome text = run_program("inspect " + path + " --base " + at("model"));
    EXPECT_NE(text.out.find("an adapter (LoRA)"), std::string::npos) << text.out;
    EXPECT_NE(text.out.find("rank 3, scale 2"), std::string::npos) << text.out;
    EXPECT_NE(text.out.find("fits " + at("model")), std::string::npos) << text.out;
  }
  expect_refusal(run_program("inspect " + at("model") + " --base " + at("model")),
                 "--base is for adapters");
  expect_refusal(run_program("inspect " + at("one")), "the folder of a run; its adapter is");
}

TEST_F(AdapterVerbs, ABadOneIsOneLine) {
  const std::string model = at("model");
  write_file(at("ids"), "[[1,2,3]]");
  // An adapter of another model.
  CpuStream stream(1);
  ModelConfig wider = ModelFiles(model, Extent::kHeader).config();
  wider.hidden_size *= 2;
  const auto values = random_adapter(wider, 2, {LoraTarget::kAttention}, 1, 0.1, stream);
  write_peft_adapter(at("wide"), wider, values->content(stream), {});
  for (const std::string& verb :
       {"chat " + model, "generate " + model + " -p x", "score " + model + " --ids " + at("ids"),
        "eval " + model + " quick --out " + at("never")}) {
    expect_refusal(run_program(verb + " --adapter /nowhere"), "/nowhere: there is no such adapter");
    expect_refusal(run_program(verb + " --adapter wide=" + at("wide")), at("wide"));
    expect_refusal(run_program(verb + " --adapter =x"), "its name (before the '=') is empty");
    expect_refusal(run_program(verb + " --adapter x="), "its path (behind the '=') is empty");
  }
  expect_refusal(run_program("chat http://127.0.0.1:9" + with("one")),
                 "--adapter: is for a model opened here");
  expect_refusal(run_program("eval http://127.0.0.1:9 quick --out " + at("never") + with("one")),
                 "--adapter: is for a model opened here");
  expect_refusal(run_program("eval a=" + model + " b=" + model + " quick" + with("one")),
                 "--adapter beside 2 models");
  expect_refusal(
      run_program("eval " + model + " quick" + with("one") + " --adapter one=" + at("two")),
      "another --adapter is named 'one' already");
  EXPECT_FALSE(path_exists(at("never")));
}

}  // namespace
}  // namespace dure
