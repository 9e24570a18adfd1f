import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/**
 * {@code Launcher PORT [FILE]}: serves the MongoDB protocol on loopback, from memory or from FILE, until its standard
 * input closes. It writes {@code listening on port N} once it takes connections.
 */
class Launcher {
  /** The server speaks what the driver needs of 5.0, but calls itself older than the driver accepts. */
  private static final class Version implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(5, 0, 0);
    }

    @Override
    public int getWireVersion() {
      return 13;
    }
  }

  public static void main(String[] arguments) throws Exception {
    MongoBackend backend = arguments.length > 1 ? new H2Backend(arguments[1]) : new MemoryBackend();
    backend.version(new Version());
    MongoServer server = new MongoServer(backend);
    server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
    System.out.println("listening on port " + server.getLocalAddress().getPort());
    while (System.in.read() >= 0) {
      // Nothing is expected there but the end.
    }
    server.stopListening();
    backend.close();
    Runtime.getRuntime().halt(0);
  }
}
