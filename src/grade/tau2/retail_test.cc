// A shop of our own: what each tool changes, what it refuses, and what it leaves alone.
#include <gtest/gtest.h>

#include "base/testing.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/record_table.h"

namespace dure {
namespace {

constexpr const char* kShop = R"({
  "products": {
    "p1": {"name": "Lamp", "product_id": "p1", "variants": {
      "i1": {"item_id": "i1", "options": {"colour": "red"}, "available": true, "price": 10},
      "i2": {"item_id": "i2", "options": {"colour": "blue"}, "available": true, "price": 12.5},
      "i3": {"item_id": "i3", "options": {"colour": "grey"}, "available": false, "price": 1}}},
    "p2": {"name": "Chair", "product_id": "p2", "variants": {
      "j1": {"item_id": "j1", "options": {}, "available": true, "price": 99.99}}}},
  "users": {"ann_1": {"user_id": "ann_1", "name": {"first_name": "Ann", "last_name": "Boole"},
    "address": {"address1": "1 Well St", "address2": "", "city": "Cork", "country": "USA",
                "state": "CA", "zip": "90210"},
    "email": "ann@example.com",
    "payment_methods": {
      "gift_card_1": {"source": "gift_card", "id": "gift_card_1", "balance": 5},
      "credit_card_1": {"source": "credit_card", "id": "credit_card_1", "brand": "visa",
                        "last_four": "1234"}},
    "orders": ["#W1", "#W2"]}},
  "orders": {
    "#W1": {"order_id": "#W1", "user_id": "ann_1", "address": {}, "items": [
        {"name": "Lamp", "product_id": "p1", "item_id": "i1", "price": 10, "options": {"colour": "red"}},
        {"name": "Lamp", "product_id": "p1", "item_id": "i1", "price": 10, "options": {"colour": "red"}}],
      "status": "pending", "fulfillments": [], "payment_history": [
        {"transaction_type": "payment", "amount": 20, "payment_method_id": "gift_card_1"}]},
    "#W2": {"order_id": "#W2", "user_id": "ann_1", "address": {}, "items": [
        {"name": "Lamp", "product_id": "p1", "item_id": "i2", "price": 12.5, "options": {}}],
      "status": "delivered", "fulfillments": [], "payment_history": [
        {"transaction_type": "payment", "amount": 12.5, "payment_method_id": "credit_card_1"}]}}})";

class Shop : public testing::Test {
 protected:
  Tau2Result call(const char* name, const std::string& arguments) {
    return world->call(Tau2Side::kAssistant, name, parse_json(arguments, "a"));
  }
  Json of(const char* name, const std::string& arguments) {
    const Tau2Result result = call(name, arguments);
    EXPECT_FALSE(result.failed) << name << arguments << ": " << result.text;
    return result.failed ? Json::object() : parse_json(result.text, "result");
  }
  double balance() {
    return of("get_user_details", R"({"user_id": "ann_1"})")
        .at("payment_methods")
        .at("gift_card_1")
        .at("balance")
        .as_double();
  }
  void refuses(const char* name, const std::string& arguments) {
    const auto before = world->copy();
    const Tau2Result result = call(name, arguments);
    EXPECT_TRUE(result.failed) << name << arguments << ": " << result.text;
    EXPECT_TRUE(world->same_state(*before)) << name << arguments;
  }
  std::unique_ptr<Tau2World> world = tau2_retail_world(parse_json(kShop, "db"), {});
};

TEST_F(Shop, LooksUp) {
  EXPECT_EQ(call("find_user_id_by_email", R"({"email": "ANN@example.com"})").text, "ann_1");
  EXPECT_EQ(call("find_user_id_by_name_zip",
                 R"({"first_name": "ann", "last_name": "BOOLE", "zip": "90210"})")
                .text,
            "ann_1");
  refuses("find_user_id_by_name_zip",
          R"({"first_name": "ann", "last_name": "BOOLE", "zip": "90211"})");
  EXPECT_EQ(call("list_all_product_types", "{}").text, R"({"Chair": "p2", "Lamp": "p1"})");
  EXPECT_EQ(call("get_item_details", R"({"item_id": "i1"})").text,
            R"({"item_id": "i1", "options": {"colour": "red"}, "available": true, "price": 10.0})");
  EXPECT_TRUE(of("get_order_details", R"({"order_id": "#W1"})").at("return_items").is_null());
  refuses("get_product_details", R"({"product_id": "i1"})");
  EXPECT_EQ(world->tools(Tau2Side::kAssistant).size(), 16u);
  EXPECT_EQ(world->tools(Tau2Side::kUser).size(), 0u);
}

TEST_F(Shop, CancelsAndRefunds) {
  refuses("cancel_pending_order", R"({"order_id": "#W1", "reason": "too late"})");
  refuses("cancel_pending_order", R"({"order_id": "#W2", "reason": "no longer needed"})");
  const Json order =
      of("cancel_pending_order", R"({"order_id": "#W1", "reason": "ordered by mistake"})");
  EXPECT_EQ(order.at("status"), Json("cancelled"));
  EXPECT_EQ(order.at("payment_history").size(), 2u);
  EXPECT_EQ(order.at("payment_history").at(size_t{1}).dump(),
            R"({"transaction_type":"refund","amount":20.0,"payment_method_id":"gift_card_1"})");
  EXPECT_EQ(balance(), 25);
  refuses("cancel_pending_order", R"({"order_id": "#W1", "reason": "ordered by mistake"})");
}

TEST_F(Shop, ModifiesItems) {
  const auto with = [](const char* old, const char* now, const char* method) {
    return std::string(R"({"order_id": "#W1", "item_ids": )") + old + R"(, "new_item_ids": )" +
           now + R"(, "payment_method_id": ")" + method + "\"}";
  };
  refuses("modify_pending_order_items", with(R"(["i1"])", R"(["i3"])", "credit_card_1"));
  refuses("modify_pending_order_items", with(R"(["i1"])", R"(["j1"])", "credit_card_1"));
  refuses("modify_pending_order_items", with(R"(["i1"])", R"(["i1"])", "credit_card_1"));
  refuses("modify_pending_order_items",
          with(R"(["i1", "i1", "i1"])", R"(["i2", "i2", "i2"])", "credit_card_1"));
  refuses("modify_pending_order_items", with(R"(["i1"])", R"(["i2", "i2"])", "credit_card_1"));
  refuses("modify_pending_order_items", with(R"(["i1"])", R"(["i2"])", "paypal_1"));
  refuses("modify_pending_order_items", with("\"i1\"", R"(["i2"])", "credit_card_1"));
  const Json order =
      of("modify_pending_order_items", with(R"(["i1", "i1"])", R"(["i2", "i2"])", "gift_card_1"));
  EXPECT_EQ(order.at("status"), Json("pending (item modified)"));
  for (const Json& item : order.at("items").as_array()) {
    EXPECT_EQ(item.at("item_id"), Json("i2"));
    EXPECT_EQ(item.at("price"), Json(12.5));
    EXPECT_EQ(item.at("options").at("colour"), Json("blue"));
  }
  EXPECT_EQ(balance(), 0);
  refuses("modify_pending_order_items", with(R"(["i2"])", R"(["i1"])", "credit_card_1"));  // once
  of("modify_pending_order_address",
     R"({"order_id": "#W1", "address1": "a", "address2": "", "city": "c", "state": "s",
         "country": "USA", "zip": "1"})");  // but it is pending still
}

TEST_F(Shop, PaysOtherwise) {
  refuses("modify_pending_order_payment",
          R"({"order_id": "#W1", "payment_method_id": "gift_card_1"})");
  of("modify_pending_order_payment",
     R"({"order_id": "#W1", "payment_method_id": "credit_card_1"})");
  EXPECT_EQ(balance(), 25);
  refuses("modify_pending_order_payment",
          R"({"order_id": "#W1", "payment_method_id": "gift_card_1"})");
}

TEST_F(Shop, ExchangesAndReturns) {
  refuses("exchange_delivered_order_items",
          R"({"order_id": "#W1", "item_ids": ["i1"], "new_item_ids": ["i2"],
              "payment_method_id": "credit_card_1"})");
  const auto other = world->copy();
  const Json order = of("exchange_delivered_order_items",
                        R"({"order_id": "#W2", "item_ids": ["i2"], "new_item_ids": ["i1"],
                            "payment_method_id": "gift_card_1"})");
  EXPECT_EQ(order.at("status"), Json("exchange requested"));
  EXPECT_EQ(order.at("exchange_price_difference"), Json(-2.5));
  EXPECT_EQ(balance(), 5);  // not before it is back
  EXPECT_FALSE(world->same_state(*other));
  world = other->copy();
  const Json returned = of("return_delivered_order_items",
                           R"({"order_id": "#W2", "item_ids": ["i2"],
                               "payment_method_id": "credit_card_1"})");
  EXPECT_EQ(returned.at("return_items").dump(), R"(["i2"])");
  refuses("return_delivered_order_items",
          R"({"order_id": "#W2", "item_ids": ["i2"], "payment_method_id": "credit_card_1"})");
}

TEST_F(Shop, Calculates) {
  const auto result = [&](const std::string& expression) {
    return call("calculate", R"({"expression": ")" + expression + "\"}").text;
  };
  EXPECT_EQ(result("2 + 2"), "4.0");
  EXPECT_EQ(result("-2**2 + 2*(3 - 1)/4"), "-3.0");
  EXPECT_EQ(result("2**-1"), "0.5");
  EXPECT_EQ(result("7 // 2 * 10"), "30.0");
  EXPECT_EQ(result("10/3"), "3.33");
  EXPECT_EQ(result("0.1+0.2"), "0.3");
  for (const char* wrong : {"", "2 +", "(2", "1/0", "2 3", "__import__", "2***3", "9**9**9**9"})
    EXPECT_TRUE(result(wrong).starts_with("Error: ")) << wrong;
  EXPECT_TRUE(result(std::string(100000, '(')).starts_with("Error: "));
}

TEST(RecordTable, CopiesShareWhatIsNotChanged) {
  RecordTable one(parse_json(R"({"a": {"n": 1}, "b": {"n": 2}})", "t"), "t");
  RecordTable two = one;
  EXPECT_EQ(one.find("a"), two.find("a"));
  (*two.edit("a"))["n"] = 3;
  EXPECT_EQ(one.find("a")->at("n"), Json(1));
  EXPECT_EQ(one.find("b"), two.find("b"));
  EXPECT_FALSE(one.same(two));
  (*two.edit("a"))["n"] = 1.0;
  EXPECT_TRUE(one.same(two));
  two.put("c", Json::object());
  EXPECT_FALSE(two.same(one));
  EXPECT_EQ(two.edit("d"), nullptr);
  one.lay_over_rows(parse_json(R"({"a": {"m": 5}, "c": {}})", "more"));
  EXPECT_EQ(one.find("a")->dump(), R"({"n":1,"m":5})");
  EXPECT_NE(message_of([] {
              RecordTable(parse_json(R"({"a": 1})", "t"), "db.json: users");
            }).find("db.json: users: a"),
            std::string::npos);
}

}  // namespace
}  // namespace dure
