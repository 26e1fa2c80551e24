import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.LongAdder;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.bouncycastle.crypto.digests.Blake2bDigest;

/**
 * Kafka Streams with ONNX Runtime for Java: a processor that scores record by record, which is the unit Kafka Streams
 * has, on two threads. At least once, committed every 0.5 s as the careful loop; all else is as Kafka Streams has it.
 *
 * <p>Arguments, "ready" and SIGTERM as careful.py. It knows one writer schema and takes every record for a good one.
 */
public final class LeadScorer implements FixedKeyProcessor<byte[], byte[], byte[]> {
  private static final String[] TEXTS = {
    "job", "marital", "education", "credit_default", "housing", "loan", "contact", "month", "day_of_week",
    "previous_outcome"
  };
  private static final String[] NUMBERS = {
    "age", "campaign", "days_since_contact", "previous_contacts", "employment_variation_rate", "consumer_price_index",
    "consumer_confidence_index", "euribor_3m", "employees"
  };
  private static final int NEVER_CONTACTED = 999;
  private static final int PREFIX_BYTES = 5;
  private static final int THREADS = 2;
  private static final int COMMIT_MS = 500;
  private static final long[] ONE = {1, 1};
  private static final OrtEnvironment ORT = OrtEnvironment.getEnvironment();
  private static final LongAdder EVENTS = new LongAdder();

  /** What is the same for every event, shared by the threads. */
  private record Fixed(
      Schema reads, Schema writes, byte[] head, Map<String, Object> constants, String idStart, OrtSession session) {}

  private final Fixed fixed;
  private final GenericDatumReader<GenericRecord> reader;
  private final GenericDatumWriter<GenericRecord> writer;
  private final ByteArrayOutputStream body = new ByteArrayOutputStream(512);
  private BinaryDecoder decoder;
  private BinaryEncoder encoder;
  private FixedKeyProcessorContext<byte[], byte[]> context;

  private LeadScorer(Fixed fixed) {
    this.fixed = fixed;
    reader = new GenericDatumReader<>(fixed.reads());
    writer = new GenericDatumWriter<>(fixed.writes());
  }

  public static void main(String[] args) throws Exception {
    Map<String, String> given = new HashMap<>();
    for (int at = 0; at < args.length; at += 2) {
      given.put(args[at].substring(2), args[at + 1]);
    }
    Fixed fixed = prepare(given);
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(given.get("source"), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
        .processValues(() -> new LeadScorer(fixed))
        // An event's key is its lead_id, which is what predictions are keyed by: it stays.
        .to(given.get("target"), Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
    Properties own = new Properties();
    own.put(StreamsConfig.APPLICATION_ID_CONFIG, given.get("group"));
    own.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given.get("bootstrap"));
    own.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
    own.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, THREADS);
    own.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, COMMIT_MS);
    own.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    KafkaStreams streams = new KafkaStreams(builder.build(), own);
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.RUNNING) {
            System.out.println("ready");
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      streams.close();
      System.out.printf("{\"batches\": %1$d, \"events\": %1$d}%n", EVENTS.sum());
      // With the status of one that was asked to end: Java's own would be that of one killed by the signal.
      Runtime.getRuntime().halt(0);
    }));
    streams.start();
  }

  @Override
  public void init(FixedKeyProcessorContext<byte[], byte[]> given) {
    context = given;
  }

  @Override
  public void process(FixedKeyRecord<byte[], byte[]> record) {
    try {
      RecordMetadata place = context.recordMetadata().orElseThrow();
      context.forward(record.withValue(score(record.value(), record.timestamp(), place)));
      EVENTS.increment();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    } catch (OrtException error) {
      throw new IllegalStateException(error);
    }
  }

  private byte[] score(byte[] value, long timestamp, RecordMetadata place) throws IOException, OrtException {
    decoder = DecoderFactory.get().binaryDecoder(value, PREFIX_BYTES, value.length - PREFIX_BYTES, decoder);
    GenericRecord event = reader.read(null, decoder);
    float probability = probability(event);
    GenericData.Record prediction = new GenericData.Record(fixed.writes());
    fixed.constants().forEach(prediction::put);
    prediction.put("prediction_id", fixed.idStart() + place.partition() + "/" + place.offset());
    prediction.put("event_id", event.get("event_id"));
    prediction.put("lead_id", event.get("lead_id"));
    prediction.put("score", probability);
    prediction.put("bucket", bucket(probability));
    prediction.put("source_partition", place.partition());
    prediction.put("source_offset", place.offset());
    prediction.put("source_timestamp", timestamp);
    prediction.put("event_digest", digest(value));
    prediction.put("occurred_at", event.get("occurred_at"));
    prediction.put("scored_at", System.currentTimeMillis());
    body.reset();
    body.write(fixed.head());
    encoder = EncoderFactory.get().binaryEncoder(body, encoder);
    writer.write(prediction, encoder);
    encoder.flush();
    return body.toByteArray();
  }

  private float probability(GenericRecord event) throws OrtException {
    Map<String, OnnxTensor> tensors = new HashMap<>();
    try {
      for (String name : TEXTS) {
        tensors.put(name, OnnxTensor.createTensor(ORT, new String[] {event.get(name).toString()}, ONE));
      }
      for (String name : NUMBERS) {
        Object given = event.get(name);
        float number = given == null ? NEVER_CONTACTED : ((Number) given).floatValue();
        tensors.put(name, OnnxTensor.createTensor(ORT, FloatBuffer.wrap(new float[] {number}), ONE));
      }
      try (OrtSession.Result found = fixed.session().run(tensors)) {
        return ((float[][]) found.get("probabilities").orElseThrow().getValue())[0][1];
      }
    } finally {
      tensors.values().forEach(OnnxTensor::close);
    }
  }

  private static String bucket(float probability) {
    if (probability < 0.0625f) {
      return "D";
    }
    if (probability < 0.25f) {
      return "C";
    }
    return probability < 0.5f ? "B" : "A";
  }

  private static String digest(byte[] value) {
    Blake2bDigest digest = new Blake2bDigest(64);
    digest.update(value, 0, value.length);
    byte[] found = new byte[8];
    digest.doFinal(found, 0);
    return HexFormat.of().formatHex(found);
  }

  private static Fixed prepare(Map<String, String> given) throws IOException, OrtException {
    ObjectMapper json = new ObjectMapper();
    Path folder = Path.of(given.get("schemas"));
    JsonNode index = json.readTree(folder.resolve("registry.json").toFile());
    JsonNode reads = entry(index, given.get("source") + "-value");
    JsonNode writes = entry(index, given.get("target") + "-value");
    Map<String, Object> constants = new HashMap<>();
    for (Map.Entry<String, JsonNode> each : json.readTree(given.get("constants")).properties()) {
      constants.put(each.getKey(), each.getValue().isInt() ? (Object) each.getValue().asInt() : each.getValue().asText());
    }
    constants.put("runtime", "onnxruntime " + ORT.getVersion());
    OrtSession.SessionOptions options = new OrtSession.SessionOptions();
    options.setIntraOpNumThreads(1);
    options.setInterOpNumThreads(1);
    return new Fixed(
        schema(folder, reads),
        schema(folder, writes),
        ByteBuffer.allocate(PREFIX_BYTES).put((byte) 0).putInt(writes.get("id").asInt()).array(),
        constants,
        constants.get("model_name") + "/" + constants.get("model_version") + "/" + given.get("source") + "/",
        ORT.createSession(given.get("bundle") + "/model.onnx", options));
  }

  private static Schema schema(Path folder, JsonNode entry) throws IOException {
    return new Schema.Parser().parse(folder.resolve(entry.get("file").asText()).toFile());
  }

  private static JsonNode entry(JsonNode index, String subject) {
    for (JsonNode each : index) {
      if (each.get("subject").asText().equals(subject)) {
        return each;
      }
    }
    throw new IllegalArgumentException("no schema is registered for " + subject);
  }
}
