// The table, a block for each language and a list of templates for each question in it; the filling
// of a template; Korean particles.
#include "data/tasks/phrasing.h"

#include <map>

#include "base/check.h"

namespace dure::tasks {
namespace {

struct Wording {
  const char* language;
  std::vector<const char*> templates[kQuestionCount];  // In the order of Question.
};

const std::vector<Wording>& wordings() {
  static const std::vector<Wording> table = {
      {"ko",
       {
           {"{a}+{b}[은] 얼마인가요?", "{a}에 {b}[을] 더하면 얼마가 되나요?",
            "다음을 계산하세요: {a}+{b}", "{a} 더하기 {b}의 값을 구하세요."},
           {"{a}-{b}[은] 얼마인가요?", "{a}에서 {b}[을] 빼면 얼마가 남나요?",
            "다음을 계산하세요: {a}-{b}", "{a} 빼기 {b}의 값을 구하세요."},
           {"{a}[과] {b} 중에서 더 큰 수는 무엇인가요?", "더 큰 수를 고르세요: {a}, {b}",
            "{a}, {b} 가운데 어느 쪽이 더 큰가요?"},
           {"{a}[과] {b} 중에서 더 작은 수는 무엇인가요?", "더 작은 수를 고르세요: {a}, {b}",
            "{a}, {b} 가운데 어느 쪽이 더 작은가요?"},
           {"작은 수부터 차례로 나열하세요: {list}", "다음 수를 오름차순으로 정렬하세요: {list}",
            "{list}[을] 작은 것부터 큰 것 순서로 쓰세요."},
           {"큰 수부터 차례로 나열하세요: {list}", "다음 수를 내림차순으로 정렬하세요: {list}",
            "{list}[을] 큰 것부터 작은 것 순서로 쓰세요."},
           {"{list}의 숫자를 거꾸로 쓰세요.", "다음 숫자열을 뒤집으세요: {list}",
            "숫자열 {list}[을] 뒤에서부터 쓰면 무엇인가요?"},
           {"다음 글자의 순서를 거꾸로 하세요: {list}",
            "다음 글자들을 뒤에서부터 나열하세요: {list}", "글자 목록을 거꾸로 쓰세요: {list}"},
           {"{list}에 숫자 {item}[이] 몇 번 나오나요?",
            "다음에서 숫자 {item}의 개수를 세세요: {list}",
            "숫자열 {list}에는 {item}[이] 몇 개 있나요?"},
           {"글자 \"{item}\"의 개수를 세세요: {list}",
            "다음에 \"{item}\" 글자가 몇 번 나오나요? {list}",
            "글자 \"{item}\", 몇 개인가요? {list}"},
           {"{list}[을] 한 번씩 모두 쓰고 +, -, *를 써서 {item}[을] 만드세요.",
            "세 수 {list}[을] 각각 한 번씩 써서 {item}[이] 되는 식을 쓰세요 (+, -, *).",
            "{list}[으로] {item}[을] 만드는 식을 쓰세요. 각 수는 한 번씩, 연산은 +, -, *만 "
            "씁니다."},
       }},
      {"en",
       {
           {"What is {a}+{b}?", "Add {a} and {b}.", "Calculate {a}+{b}.",
            "What do you get if you add {b} to {a}?"},
           {"What is {a}-{b}?", "Subtract {b} from {a}.", "Calculate {a}-{b}.",
            "What is left if you take {b} away from {a}?"},
           {"Which is larger, {a} or {b}?", "Which of the numbers {a} and {b} is larger?",
            "Name the larger number: {a}, {b}"},
           {"Which is smaller, {a} or {b}?", "Which of the numbers {a} and {b} is smaller?",
            "Name the smaller number: {a}, {b}"},
           {"Sort from smallest to largest: {list}", "Put these numbers in ascending order: {list}",
            "Arrange {list} from smallest to largest."},
           {"Sort from largest to smallest: {list}",
            "Put these numbers in descending order: {list}",
            "Arrange {list} from largest to smallest."},
           {"Write the digits of {list} in reverse order.", "Reverse this string of digits: {list}",
            "What is {list} written backwards?"},
           {"Reverse the order of these letters: {list}", "Write these letters backwards: {list}",
            "List these letters from last to first: {list}"},
           {"How many times does {item} occur in {list}?", "Count the digit {item} in {list}.",
            "How often does the digit {item} appear here? {list}"},
           {"How many times does \"{item}\" occur? {list}", "Count the letter \"{item}\": {list}",
            "How often does the letter \"{item}\" appear here? {list}"},
           {"Use {list} once each with +, - and * to make {item}.",
            "Make {item} from the numbers {list}, using each exactly once with +, - or *.",
            "Write an expression equal to {item} that uses {list} once each. Allowed: + - *"},
       }},
      {"es",
       {
           {"¿Cuánto es {a}+{b}?", "Suma {a} y {b}.", "Calcula {a}+{b}.",
            "¿Qué resultado da sumar {a} y {b}?"},
           {"¿Cuánto es {a}-{b}?", "Resta {b} a {a}.", "Calcula {a}-{b}.",
            "¿Cuánto queda si a {a} le quitas {b}?"},
           {"Entre {a} y {b}, ¿cuál es mayor?", "¿Cuál de los números {a} y {b} es mayor?",
            "Escribe el número mayor: {a}, {b}"},
           {"Entre {a} y {b}, ¿cuál es menor?", "¿Cuál de los números {a} y {b} es menor?",
            "Escribe el número menor: {a}, {b}"},
           {"Ordena de menor a mayor: {list}", "Pon estos números en orden ascendente: {list}",
            "Escribe {list} de menor a mayor."},
           {"Ordena de mayor a menor: {list}", "Pon estos números en orden descendente: {list}",
            "Escribe {list} de mayor a menor."},
           {"Escribe las cifras de {list} al revés.", "Invierte esta serie de cifras: {list}",
            "¿Cómo se escribe {list} al revés?"},
           {"Invierte el orden de estas letras: {list}", "Escribe estas letras al revés: {list}",
            "Enumera estas letras de la última a la primera: {list}"},
           {"¿Cuántas veces aparece el {item} en {list}?",
            "Cuenta las veces que aparece la cifra {item}: {list}",
            "¿Cuántas veces está la cifra {item} en {list}?"},
           {"Cuenta la letra \"{item}\": {list}",
            "¿Cuántas veces aparece la letra \"{item}\"? {list}",
            "Di cuántas veces está la letra \"{item}\": {list}"},
           {"Usa {list} una vez cada uno con +, - y * para obtener {item}.",
            "Obtén {item} con los números {list}, cada uno exactamente una vez, usando +, - o *.",
            "Escribe una expresión igual a {item} que use {list} una sola vez cada uno. "
            "Operaciones: + - *"},
       }},
      {"de",
       {
           {"Wie viel ist {a}+{b}?", "Addiere {a} und {b}.", "Berechne {a}+{b}.",
            "Was ergibt {a} plus {b}?"},
           {"Wie viel ist {a}-{b}?", "Ziehe {b} von {a} ab.", "Berechne {a}-{b}.",
            "Was ergibt {a} minus {b}?"},
           {"Welche Zahl ist größer, {a} oder {b}?",
            "Welche der Zahlen {a} und {b} ist die größere?", "Nenne die größere Zahl: {a}, {b}"},
           {"Welche Zahl ist kleiner, {a} oder {b}?",
            "Welche der Zahlen {a} und {b} ist die kleinere?", "Nenne die kleinere Zahl: {a}, {b}"},
           {"Sortiere von klein nach groß: {list}",
            "Bringe diese Zahlen in aufsteigende Reihenfolge: {list}",
            "Ordne {list} von klein nach groß."},
           {"Sortiere von groß nach klein: {list}",
            "Bringe diese Zahlen in absteigende Reihenfolge: {list}",
            "Ordne {list} von groß nach klein."},
           {"Schreibe die Ziffern von {list} in umgekehrter Reihenfolge.",
            "Kehre diese Ziffernfolge um: {list}", "Wie lautet {list} rückwärts geschrieben?"},
           {"Kehre die Reihenfolge dieser Buchstaben um: {list}",
            "Schreibe diese Buchstaben rückwärts: {list}",
            "Nenne diese Buchstaben vom letzten bis zum ersten: {list}"},
           {"Wie oft kommt die {item} in {list} vor?", "Zähle die Ziffer {item} in {list}.",
            "Wie oft steht die Ziffer {item} in {list}?"},
           {"Wie oft kommt der Buchstabe \"{item}\" vor? {list}",
            "Zähle den Buchstaben \"{item}\": {list}",
            "Wie oft steht hier der Buchstabe \"{item}\"? {list}"},
           {"Bilde {item} aus {list}; benutze jede Zahl genau einmal und nur +, - und *.",
            "Benutze {list} je einmal mit +, - und *, um {item} zu erhalten.",
            "Schreibe einen Ausdruck mit dem Wert {item}, der {list} je einmal enthält. Erlaubt: + "
            "- *"},
       }},
      {"ja",
       {
           {"{a}+{b}はいくつですか。", "{a}に{b}を足すといくつになりますか。",
            "次の計算をしてください：{a}+{b}", "{a}と{b}の和を求めてください。"},
           {"{a}-{b}はいくつですか。", "{a}から{b}を引くといくつになりますか。",
            "次の計算をしてください：{a}-{b}", "{a}と{b}の差を求めてください。"},
           {"{a}と{b}では、どちらが大きいですか。", "大きい方の数を答えてください：{a}、{b}",
            "{a}と{b}のうち、大きい数はどちらですか。"},
           {"{a}と{b}では、どちらが小さいですか。", "小さい方の数を答えてください：{a}、{b}",
            "{a}と{b}のうち、小さい数はどちらですか。"},
           {"小さい順に並べてください：{list}", "次の数を昇順に並べ替えてください：{list}",
            "{list}を小さい数から順に書いてください。"},
           {"大きい順に並べてください：{list}", "次の数を降順に並べ替えてください：{list}",
            "{list}を大きい数から順に書いてください。"},
           {"{list}の数字を逆の順に書いてください。", "次の数字列を逆順にしてください：{list}",
            "{list}を後ろから書くとどうなりますか。"},
           {"次の文字を逆の順に並べてください：{list}",
            "次の文字を後ろから順に書いてください：{list}",
            "この文字列の順番を逆にしてください：{list}"},
           {"{list}の中に{item}は何個ありますか。", "次の数字列に{item}は何回出てきますか：{list}",
            "{list}に含まれる数字{item}の個数を数えてください。"},
           {"文字「{item}」の個数を数えてください：{list}",
            "次の中に「{item}」は何回出てきますか：{list}", "「{item}」はいくつありますか：{list}"},
           {"{list}を一回ずつ使い、+、-、*で{item}を作ってください。",
            "三つの数{list}を一回ずつ使って{item}になる式を書いてください（+、-、*）。",
            "{item}になる式を書いてください。{list}をそれぞれ一回だけ使い、演算は+、-、*"
            "のみです。"},
       }},
      {"vi",
       {
           {"{a}+{b} bằng bao nhiêu?", "Hãy cộng {a} với {b}.", "Tính {a}+{b}.",
            "Tổng của {a} và {b} là bao nhiêu?"},
           {"{a}-{b} bằng bao nhiêu?", "Lấy {a} trừ đi {b} được bao nhiêu?", "Tính {a}-{b}.",
            "Hiệu của {a} và {b} là bao nhiêu?"},
           {"Số nào lớn hơn, {a} hay {b}?", "Trong hai số {a} và {b}, số nào lớn hơn?",
            "Hãy chọn số lớn hơn: {a}, {b}"},
           {"Số nào nhỏ hơn, {a} hay {b}?", "Trong hai số {a} và {b}, số nào nhỏ hơn?",
            "Hãy chọn số nhỏ hơn: {a}, {b}"},
           {"Sắp xếp từ nhỏ đến lớn: {list}", "Hãy xếp các số sau theo thứ tự tăng dần: {list}",
            "Viết {list} theo thứ tự từ nhỏ đến lớn."},
           {"Sắp xếp từ lớn đến nhỏ: {list}", "Hãy xếp các số sau theo thứ tự giảm dần: {list}",
            "Viết {list} theo thứ tự từ lớn đến nhỏ."},
           {"Viết các chữ số của {list} theo thứ tự ngược lại.",
            "Hãy đảo ngược dãy chữ số sau: {list}", "Viết ngược {list} thì được gì?"},
           {"Đảo ngược thứ tự các chữ cái sau: {list}", "Viết ngược các chữ cái sau: {list}",
            "Liệt kê các chữ cái này từ cuối về đầu: {list}"},
           {"Chữ số {item} xuất hiện bao nhiêu lần trong {list}?",
            "Đếm số lần xuất hiện của chữ số {item} trong {list}.",
            "Trong {list} có bao nhiêu chữ số {item}?"},
           {"Chữ cái \"{item}\" xuất hiện bao nhiêu lần? {list}", "Đếm chữ cái \"{item}\": {list}",
            "Có bao nhiêu chữ \"{item}\"? {list}"},
           {"Dùng mỗi số {list} đúng một lần với +, -, * để được {item}.",
            "Hãy tạo ra {item} từ các số {list}, mỗi số dùng đúng một lần, chỉ dùng +, -, *.",
            "Viết biểu thức bằng {item}, dùng mỗi số {list} đúng một lần. Phép tính: + - *"},
       }},
  };
  return table;
}

const std::vector<const char*>& templates_of(Question question, const std::string& language) {
  for (const Wording& wording : wordings()) {
    if (language == wording.language) return wording.templates[static_cast<int>(question)];
  }
  DURE_CHECK(false, "no phrasings in language '{}'", language);
  std::abort();
}

const std::string& value_of(const Draft& draft, std::string_view name) {
  if (name == "a") return draft.a;
  if (name == "b") return draft.b;
  if (name == "list") return draft.list;
  DURE_CHECK(name == "item", "no placeholder {}", name);
  return draft.item;
}

std::string fill(std::string_view text, const Draft& draft) {
  std::string out;
  while (!text.empty()) {
    const size_t open = std::min(text.find_first_of("{["), text.size());
    out += text.substr(0, open);
    if (open == text.size()) break;
    const char closing = text[open] == '{' ? '}' : ']';
    const size_t close = text.find(closing, open);
    DURE_CHECK(close != std::string_view::npos, "unclosed placeholder in '{}'", text);
    const std::string_view name = text.substr(open + 1, close - open - 1);
    out += closing == '}' ? value_of(draft, name) : korean_particle(name, out.back());
    text.remove_prefix(close + 1);
  }
  return out;
}

}  // namespace

std::string korean_particle(std::string_view after_consonant, char digit) {
  DURE_CHECK(digit >= '0' && digit <= '9', "a Korean particle needs a digit before it, not '{}'",
             digit);
  // 영 일 이 삼 사 오 육 칠 팔 구; a number ending in 0 is read 십, 백, 천, 만: a consonant as
  // well.
  const bool consonant = std::string_view("013678").find(digit) != std::string_view::npos;
  // ㄹ takes 로.
  const bool l_sound = std::string_view("178").find(digit) != std::string_view::npos;
  static const std::map<std::string_view, const char*> after_vowel = {
      {"을", "를"}, {"은", "는"}, {"이", "가"}, {"과", "와"}, {"으로", "로"}};
  const auto found = after_vowel.find(after_consonant);
  DURE_CHECK(found != after_vowel.end(), "no such particle: {}", after_consonant);
  if (after_consonant == "으로") return consonant && !l_sound ? "으로" : "로";
  return consonant ? std::string(after_consonant) : found->second;
}

std::string phrase(const Draft& draft, const std::string& language, Rng& rng) {
  const auto& templates = templates_of(draft.question, language);
  return fill(templates[static_cast<size_t>(rng.below(std::ssize(templates)))], draft);
}

std::vector<std::string> phrasings(Question question, const std::string& language) {
  const auto& templates = templates_of(question, language);
  return {templates.begin(), templates.end()};
}

}  // namespace dure::tasks
