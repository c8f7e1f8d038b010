// A small airline of our own: bookings and changes, seats and money.
#include <gtest/gtest.h>

#include "base/testing.h"
#include "grade/tau2/domains.h"

namespace dure {
namespace {

constexpr const char* kAirline = R"({
  "flights": {
    "HAT1": {"flight_number": "HAT1", "origin": "SFO", "destination": "ORD",
      "scheduled_departure_time_est": "06:00:00", "scheduled_arrival_time_est": "09:00:00",
      "dates": {"2024-05-16": {"status": "available",
          "available_seats": {"basic_economy": 1, "economy": 3, "business": 0},
          "prices": {"basic_economy": 50, "economy": 100, "business": 300}},
        "2024-05-15": {"status": "delayed", "estimated_departure_time_est": "x",
          "estimated_arrival_time_est": "y"}}},
    "HAT2": {"flight_number": "HAT2", "origin": "ORD", "destination": "JFK",
      "scheduled_departure_time_est": "08:00:00", "scheduled_arrival_time_est": "11:00:00",
      "dates": {"2024-05-16": {"status": "available",
          "available_seats": {"basic_economy": 9, "economy": 9, "business": 9},
          "prices": {"basic_economy": 60, "economy": 120, "business": 400}}}},
    "HAT3": {"flight_number": "HAT3", "origin": "ORD", "destination": "JFK",
      "scheduled_departure_time_est": "10:00:00", "scheduled_arrival_time_est": "13:00:00",
      "dates": {"2024-05-16": {"status": "available",
          "available_seats": {"basic_economy": 9, "economy": 9, "business": 9},
          "prices": {"basic_economy": 60, "economy": 130, "business": 400}}}}},
  "users": {"ann_1": {"user_id": "ann_1", "name": {"first_name": "Ann", "last_name": "Boole"},
    "address": {}, "email": "ann@example.com", "dob": "1985-06-15", "payment_methods": {
      "gift_card_1": {"source": "gift_card", "id": "gift_card_1", "amount": 150},
      "certificate_1": {"source": "certificate", "id": "certificate_1", "amount": 100},
      "credit_card_1": {"source": "credit_card", "id": "credit_card_1", "brand": "visa",
                        "last_four": "1234"}},
    "saved_passengers": [], "membership": "gold", "reservations": ["OLD001"]}},
  "reservations": {"OLD001": {"reservation_id": "OLD001", "user_id": "ann_1", "origin": "SFO",
    "destination": "ORD", "flight_type": "one_way", "cabin": "economy",
    "flights": [{"flight_number": "HAT1", "origin": "SFO", "destination": "ORD",
                 "date": "2024-05-16", "price": 90}],
    "passengers": [{"first_name": "Ann", "last_name": "Boole", "dob": "1985-06-15"}],
    "payment_history": [{"payment_id": "credit_card_1", "amount": 90}],
    "created_at": "2024-05-01T00:00:00", "total_baggages": 1, "nonfree_baggages": 0,
    "insurance": "no"}}})";

class AirlineWorld : public testing::Test {
 protected:
  Tau2Result call(const char* name, const std::string& arguments) {
    return world->call(Tau2Side::kAssistant, name, parse_json(arguments, "a"));
  }
  Json of(const char* name, const std::string& arguments) {
    const Tau2Result result = call(name, arguments);
    EXPECT_FALSE(result.failed) << name << arguments << ": " << result.text;
    return result.failed ? Json::object() : parse_json(result.text, "result");
  }
  Json methods() { return of("get_user_details", R"({"user_id": "ann_1"})").at("payment_methods"); }
  void refuses(const char* name, const std::string& arguments) {
    const auto before = world->copy();
    const Tau2Result result = call(name, arguments);
    EXPECT_TRUE(result.failed) << name << arguments << ": " << result.text;
    EXPECT_TRUE(world->same_state(*before)) << name << arguments;
  }
  // Two passengers in economy, one of three pieces of baggage paid for.
  static std::string booking(const std::string& payments, const std::string& cabin = "economy") {
    return R"({"user_id": "ann_1", "origin": "SFO", "destination": "ORD", "flight_type": "one_way",
      "cabin": ")" +
           cabin + R"(", "flights": [{"flight_number": "HAT1", "date": "2024-05-16"}],
      "passengers": [{"first_name": "A", "last_name": "B", "dob": "1990-01-01"},
                     {"first_name": "C", "last_name": "D", "dob": "1990-01-01"}],
      "payment_methods": )" +
           payments + R"(, "total_baggages": 3, "nonfree_baggages": 1, "insurance": "yes"})";
  }
  std::unique_ptr<Tau2World> world = tau2_airline_world(parse_json(kAirline, "db"), {});
};

TEST_F(AirlineWorld, Books) {
  // 2 x 100, 2 x 30 of insurance, 50 of baggage.
  const char* right = R"([{"payment_id": "certificate_1", "amount": 100},
      {"payment_id": "gift_card_1", "amount": 150}, {"payment_id": "credit_card_1", "amount": 60}])";
  refuses("book_reservation", booking(R"([{"payment_id": "credit_card_1", "amount": 309}])"));
  refuses("book_reservation", booking(R"([{"payment_id": "gift_card_1", "amount": 310}])"));
  refuses("book_reservation", booking(R"([{"payment_id": "paypal_1", "amount": 310}])"));
  refuses("book_reservation", booking(right, "business"));
  refuses("book_reservation", booking(right, "first"));
  const Json made = of("book_reservation", booking(right));
  EXPECT_EQ(made.at("reservation_id"), Json("HATHAT"));
  EXPECT_EQ(made.at("created_at"), Json("2024-05-15T15:00:00"));
  EXPECT_EQ(made.at("flights").at(size_t{0}).at("price"), Json(100));
  EXPECT_TRUE(made.at("status").is_null());
  EXPECT_FALSE(methods().contains("certificate_1"));
  EXPECT_EQ(methods().at("gift_card_1").at("amount"), Json(0.0));
  EXPECT_EQ(of("get_user_details", R"({"user_id": "ann_1"})").at("reservations").dump(),
            R"(["OLD001","HATHAT"])");
  refuses("book_reservation",
          booking(R"([{"payment_id": "credit_card_1", "amount": 310}])"));  // one seat is left
}

TEST_F(AirlineWorld, Searches) {
  const std::string day = R"(, "date": "2024-05-16"})";
  const Json direct = of("search_direct_flight", R"({"origin": "ORD", "destination": "JFK")" + day);
  EXPECT_EQ(direct.size(), 2u);
  EXPECT_EQ(
      of("search_direct_flight", R"({"origin": "SFO", "destination": "ORD", "date": "2024-05-15"})")
          .size(),
      0u);
  const Json pairs = of("search_onestop_flight", R"({"origin": "SFO", "destination": "JFK")" + day);
  ASSERT_EQ(pairs.size(), 1u);  // HAT2 leaves before HAT1 is there
  EXPECT_EQ(pairs.at(size_t{0}).at(size_t{1}).at("flight_number"), Json("HAT3"));
  EXPECT_EQ(call("get_flight_status", R"({"flight_number": "HAT1", "date": "2024-05-15"})").text,
            "delayed");
  refuses("get_flight_status", R"({"flight_number": "HAT1", "date": "2024-05-01"})");
  EXPECT_EQ(of("list_all_airports", "{}").size(), 20u);
  EXPECT_EQ(world->tools(Tau2Side::kAssistant).size(), 14u);
}

TEST_F(AirlineWorld, ChangesFlights) {
  const auto change = [](const char* cabin, const char* number, const char* payment) {
    return std::string(R"({"reservation_id": "OLD001", "cabin": ")") + cabin +
           R"(", "flights": [{"flight_number": ")" + number +
           R"(", "date": "2024-05-16"}], "payment_id": ")" + payment + "\"}";
  };
  refuses("update_reservation_flights", change("economy", "HAT2", "certificate_1"));
  refuses("update_reservation_flights", change("business", "HAT1", "credit_card_1"));  // no seat
  refuses("update_reservation_flights", change("business", "HAT2", "gift_card_1"));    // 310 more
  const auto before = world->copy();
  of("update_reservation_flights", change("economy", "HAT1", "credit_card_1"));
  EXPECT_TRUE(world->same_state(*before));  // at the price of then
  const Json changed = of("update_reservation_flights", change("economy", "HAT2", "gift_card_1"));
  EXPECT_EQ(changed.at("payment_history").at(size_t{1}).dump(),
            R"({"payment_id":"gift_card_1","amount":30})");
  EXPECT_EQ(methods().at("gift_card_1").at("amount"), Json(120.0));
  of("update_reservation_flights", change("basic_economy", "HAT2", "gift_card_1"));
  EXPECT_EQ(methods().at("gift_card_1").at("amount"), Json(180.0));  // 60 back
}

TEST_F(AirlineWorld, OtherChanges) {
  const Json bags = of("update_reservation_baggages",
                       R"({"reservation_id": "OLD001", "total_baggages": 3,
                           "nonfree_baggages": 2, "payment_id": "gift_card_1"})");
  EXPECT_EQ(bags.at("total_baggages"), Json(3));
  EXPECT_EQ(methods().at("gift_card_1").at("amount"), Json(50.0));
  of("update_reservation_baggages", R"({"reservation_id": "OLD001", "total_baggages": 3,
      "nonfree_baggages": 1, "payment_id": "gift_card_1"})");
  EXPECT_EQ(methods().at("gift_card_1").at("amount"), Json(50.0));  // nothing comes back
  refuses("update_reservation_passengers", R"({"reservation_id": "OLD001", "passengers": []})");
  of("update_reservation_passengers", R"({"reservation_id": "OLD001", "passengers":
      [{"first_name": "C", "last_name": "D", "dob": "1990-01-01"}]})");
  const Json cancelled = of("cancel_reservation", R"({"reservation_id": "OLD001"})");
  EXPECT_EQ(cancelled.at("status"), Json("cancelled"));
  EXPECT_EQ(cancelled.at("payment_history").size(), 4u);
  EXPECT_EQ(cancelled.at("payment_history").at(size_t{3}).at("amount"), Json(-100));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(call("send_certificate", R"({"user_id": "ann_1", "amount": 50})").failed);
  }
  EXPECT_EQ(methods().at("certificate_3221324").at("amount"), Json(50.0));
  refuses("send_certificate", R"({"user_id": "ann_1", "amount": 50})");
}

}  // namespace
}  // namespace dure
