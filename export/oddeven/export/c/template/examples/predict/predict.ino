#include <oddeven_${name}.h>

static uint8_t pixels[ODDEVEN_${NAME}_PIXELS]; // fill it from the camera

void setup() { Serial.begin(115200); }

void loop() {
  const uint8_t probability = oddeven_${name}_probability(pixels);
  Serial.print(oddeven_${name}_labels[probability > ODDEVEN_${NAME}_THRESHOLD]);
  Serial.print(' ');
  Serial.println(probability / 256.0);
  delay(1000);
}
