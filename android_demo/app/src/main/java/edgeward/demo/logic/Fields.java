package edgeward.demo.logic;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/** The keys of one JSON object, read with their types; every miss names the place. */
public final class Fields {
    /** A dimension of any size ({@code null} in JSON). */
    public static final int ANY = -1;

    private static final int MAX_DIMENSIONS = 16;

    private final Map<String, Object> value;
    private final String where;

    public Fields(Object value, String where, String... keys) {
        this(value, where, Arrays.asList(keys));
    }

    @SuppressWarnings("unchecked")
    public Fields(Object value, String where, Collection<String> keys) {
        this.where = where;
        if (!(value instanceof Map)) {
            throw new InvalidBundleException(where + " must be an object.", kind(value), null);
        }
        this.value = (Map<String, Object>) value;
        TreeSet<String> wanted = new TreeSet<String>(keys);
        if (!this.value.keySet().equals(wanted)) {
            throw new InvalidBundleException(
                    where + " has the wrong keys.", this.value.keySet(), wanted);
        }
    }

    private static String kind(Object value) {
        return value == null ? "null" : value.getClass().getSimpleName();
    }

    InvalidBundleException error(String key, Object expected) {
        return new InvalidBundleException(
                where + "." + key + " is wrong.", value.get(key), expected);
    }

    public Object raw(String key) {
        return value.get(key);
    }

    public boolean isNull(String key) {
        return value.get(key) == null;
    }

    public String text(String key) {
        return typed(key, String.class, "a string");
    }

    public boolean truth(String key) {
        return typed(key, Boolean.class, "true or false");
    }

    public long integer(String key) {
        return typed(key, Long.class, "an integer");
    }

    /** Returns an integer of {@code low..high}. */
    public int integer(String key, int low, int high) {
        long found = integer(key);
        if (found < low || found > high) {
            throw error(key, low + ".." + high);
        }
        return (int) found;
    }

    public double number(String key) {
        return typed(key, Number.class, "a number").doubleValue();
    }

    /** Returns a number, or NaN for null; NaN itself cannot be written in JSON. */
    public double optionalNumber(String key) {
        return isNull(key) ? Double.NaN : number(key);
    }

    @SuppressWarnings("unchecked")
    public List<Object> array(String key) {
        return (List<Object>) typed(key, List.class, "an array");
    }

    @SuppressWarnings("unchecked")
    public Map<String, Object> mapping(String key) {
        return (Map<String, Object>) typed(key, Map.class, "an object");
    }

    public List<String> strings(String key) {
        List<String> result = new ArrayList<String>();
        for (Object item : array(key)) {
            if (!(item instanceof String)) {
                throw error(key, "an array of strings");
            }
            result.add((String) item);
        }
        return result;
    }

    public Map<String, String> stringMap(String key) {
        Map<String, String> result = new LinkedHashMap<String, String>();
        for (Map.Entry<String, Object> entry : mapping(key).entrySet()) {
            if (!(entry.getValue() instanceof String)) {
                throw error(key, "an object of strings");
            }
            result.put(entry.getKey(), (String) entry.getValue());
        }
        return result;
    }

    /** Returns dimensions, with {@link #ANY} for null. */
    public int[] shape(String key) {
        List<Object> values = array(key);
        if (values.size() > MAX_DIMENSIONS) {
            throw error(key, "at most " + MAX_DIMENSIONS + " dimensions");
        }
        int[] shape = new int[values.size()];
        for (int i = 0; i < shape.length; i++) {
            Object item = values.get(i);
            boolean fits = item instanceof Long && (Long) item > 0 && (Long) item < 1L << 31;
            if (item != null && !fits) {
                throw error(key, "an array of positive integers or null");
            }
            shape[i] = item == null ? ANY : ((Long) item).intValue();
        }
        return shape;
    }

    private <T> T typed(String key, Class<T> type, String words) {
        Object found = value.get(key);
        if (!type.isInstance(found)) {
            throw error(key, words);
        }
        return type.cast(found);
    }
}
